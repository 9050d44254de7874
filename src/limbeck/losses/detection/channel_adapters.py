"""Convolutions that bring each level of a student's feature maps to the teacher's channels; trained along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from limbeck.errors import ShapeError

SMALL = 1e-4
"""Deviation of the first weights of imitation layers in the released programs of FGFI and DeFeat."""


class ChannelAdapters(nn.Module):
    """One layer for each level: a convolution, or nothing where the channels agree.

    Args:
        student_shapes: (c, h, w) of each of the student's levels.
        teacher_shapes: likewise of the teacher's.
        kernel: "needed" is a 1x1 convolution where channels differ and nothing elsewhere, "1x1" always a 1x1
            convolution, "3x3" always a 3x3 one that starts near zero.

    Raises:
        ShapeError: another number of levels, or shapes that are no maps.

    Example:
        >>> import torch
        >>> adapters = ChannelAdapters(student_shapes=[(2, 4, 4)], teacher_shapes=[(3, 4, 4)])
        >>> [tuple(x.shape) for x in adapters([torch.zeros(1, 2, 4, 4)])]
        [(1, 3, 4, 4)]
    """

    def __init__(
        self,
        *,
        student_shapes: Sequence[tuple[int, ...]],
        teacher_shapes: Sequence[tuple[int, ...]],
        kernel: Literal["needed", "1x1", "3x3"] = "needed",
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _layer(inside, outside, kernel) for inside, outside in channels(student_shapes, teacher_shapes)
        )
        self.inside = [shape[0] for shape in student_shapes]

    def forward(self, student_maps: Sequence[Tensor]) -> list[Tensor]:
        """Adapt maps (n, c, h, w), one a level."""
        if [x.shape[1] if x.dim() == 4 else None for x in student_maps] != self.inside:
            raise ShapeError(
                f"expected student_maps (n, c, h, w) with {self.inside} channels, one map a level; got "
                f"{[tuple(x.shape) for x in student_maps]}."
            )
        return [layer(x) for layer, x in zip(self.layers, student_maps, strict=True)]


def channels(
    student_shapes: Sequence[tuple[int, ...]], teacher_shapes: Sequence[tuple[int, ...]]
) -> list[tuple[int, int]]:
    """Channels of the student and of the teacher, level by level.

    Raises:
        ShapeError: another number of levels, or shapes that are no maps.
    """
    if len(student_shapes) != len(teacher_shapes) or not student_shapes:
        raise ShapeError(
            f"{len(student_shapes)} levels of the student and {len(teacher_shapes)} of the teacher; they are "
            "compared one by one."
        )
    for shape in (*student_shapes, *teacher_shapes):
        if len(shape) != 3 or shape[0] < 1:
            raise ShapeError(f"a level has shape {tuple(shape)}; expected maps (channels, height, width).")
    return [(own[0], taught[0]) for own, taught in zip(student_shapes, teacher_shapes, strict=True)]


def _layer(inside: int, outside: int, kernel: str) -> nn.Module:
    if kernel == "needed" and inside == outside:
        return nn.Identity()
    if kernel != "3x3":
        return nn.Conv2d(inside, outside, 1)
    layer = nn.Conv2d(inside, outside, 3, padding=1)
    nn.init.trunc_normal_(layer.weight, std=SMALL, a=-2 * SMALL, b=2 * SMALL)
    return layer
