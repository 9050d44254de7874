"""Feature maps of several levels of two networks: checked against each other, and brought to one size."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import ShapeError


def resize_to(maps: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
    """Maps resized bilinearly to the height and width of others, level by level.

    Args:
        maps: one (n, c, h, w) a level, e.g. the teacher's.
        like: as many maps (n, c', h', w'), e.g. the student's.

    Returns:
        Maps (n, c, h', w'); one that has the size already is handed back as it is.

    Raises:
        ShapeError: another number of levels, or what is no map.

    Example:
        >>> import torch
        >>> [tuple(x.shape) for x in resize_to([torch.zeros(1, 2, 8, 8)], [torch.zeros(1, 3, 4, 6)])]
        [(1, 2, 4, 6)]
    """
    _require_levels("resize_to", maps, like)
    return [
        given
        if given.shape[2:] == wanted.shape[2:]
        else F.interpolate(given, wanted.shape[2:], mode="bilinear", align_corners=False)
        for given, wanted in zip(maps, like, strict=True)
    ]


def require_paired(where: str, student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> None:
    """Require as many maps of the student as of the teacher, each pair equal in batch, height and width.

    Raises:
        ShapeError: another number of levels, what is no map, or sizes that differ.
    """
    _require_levels(where, student_maps, teacher_maps)
    for level, (student, teacher) in enumerate(zip(student_maps, teacher_maps, strict=True)):
        if (len(student), student.shape[2:]) != (len(teacher), teacher.shape[2:]):
            raise ShapeError(
                f"{where}: level {level} is {tuple(student.shape)} in the student and {tuple(teacher.shape)} in "
                "the teacher; batch, height and width must be equal. limbeck.numerics.levels.resize_to resizes."
            )


def require_equal(where: str, student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> None:
    """As `require_paired`, and equal channels.

    Raises:
        ShapeError: in addition, channels that differ.
    """
    require_paired(where, student_maps, teacher_maps)
    for level, (student, teacher) in enumerate(zip(student_maps, teacher_maps, strict=True)):
        if student.shape[1] != teacher.shape[1]:
            raise ShapeError(
                f"{where}: level {level} has {student.shape[1]} channels in the student and {teacher.shape[1]} in "
                "the teacher; an adapter on the student's side makes them equal."
            )


def _require_levels(where: str, first: Sequence[Tensor], second: Sequence[Tensor]) -> None:
    if len(first) != len(second) or not first:
        raise ShapeError(f"{where}: {len(first)} levels against {len(second)}; they are compared one by one.")
    for level, maps in enumerate((*first, *second)):
        if maps.dim() != 4:
            raise ShapeError(
                f"{where}: level {level % len(first)} has shape {tuple(maps.shape)}; expected (n, c, h, w)."
            )
