"""Two sets of points to be compared: checked, flattened, and their distances a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from limbeck.errors import DataError, ShapeError

BLOCK = 1 << 23
"""Numbers of a matrix that are held at once: 64 MiB in double precision."""

_EXACT_WIDTH = 64


def point_sets(where: str, /, **sets: Tensor) -> list[Tensor]:
    """The sets as double-precision rows on the device of the first.

    Args:
        where: who asks, for messages.
        **sets: name -> points, shape (n, ...), of any real type; what follows n is flattened.

    Returns:
        In order, shape (n, d), float64; on the CPU where the device knows no double precision.

    Raises:
        ShapeError: a tensor without a dimension of points, or widths that differ.
        DataError: fewer than two points in a set, points without numbers, or numbers that are not finite.
    """
    flat = [_rows(where, name, tensor) for name, tensor in sets.items()]
    if len({rows.shape[1] for rows in flat}) > 1:
        shown = ", ".join(
            f"{name} {tuple(tensor.shape)} ({rows.shape[1]:,} each)"
            for (name, tensor), rows in zip(sets.items(), flat, strict=True)
        )
        raise ShapeError(f"{where}: points must have equally many numbers on all sides, got {shown}.")
    return [rows.to(flat[0].device) for rows in flat]


def _rows(where: str, name: str, tensor: Tensor) -> Tensor:
    shape = tuple(tensor.shape)
    if tensor.dim() < 1 or tensor.is_complex():
        raise ShapeError(
            f"{where}: {name} must be real numbers of shape (n, ...), got shape {shape} and type {tensor.dtype}."
        )
    if len(tensor) < 2 or not tensor[0].numel():
        raise DataError(f"{where}: {name} needs at least 2 points of at least 1 number, got shape {shape}.")
    rows = in_double(tensor).reshape(len(tensor), -1)
    broken = ~torch.isfinite(rows).all(dim=1)
    if broken.any():
        first = int(broken.nonzero()[0, 0])
        raise DataError(
            f"{where}: {int(broken.sum()):,} of the {len(tensor):,} points of {name} hold infinite or undefined "
            f"numbers, the first at index {first}."
        )
    return rows


def in_double(tensor: Tensor) -> Tensor:
    """Detached, in double precision, on its device; on the CPU where that has none, as Apple's GPUs."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).detach().double()


def blocks_of_rows(rows: int, columns: int) -> Iterator[slice]:
    """Slices that cut a matrix into blocks of at most `BLOCK` numbers, or of one row.

    Example:
        >>> list(blocks_of_rows(5, BLOCK // 2))
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, BLOCK // max(1, columns))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def distances(left: Tensor, right: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Euclidean distances between two sets, a block of rows at a time.

    Points of up to 64 numbers are subtracted. Wider ones go through a matrix product, tens of times as fast,
    after moving the origin to the middle of `right`, so that a far-off mean costs no digits; two equal points
    are then up to about 1e-7 of the spread apart instead of 0.

    Args:
        left: shape (n, d), float64.
        right: shape (m, d), float64.

    Yields:
        Which rows of `left`, and their distances, shape (rows, m); to be overwritten at will.
    """
    wide = left.shape[1] > _EXACT_WIDTH
    mode = "use_mm_for_euclid_dist" if wide else "donot_use_mm_for_euclid_dist"
    if wide:
        middle = right.mean(dim=0)
        left, right = left - middle, right - middle
    for rows in blocks_of_rows(len(left), len(right)):
        yield rows, torch.cdist(left[rows], right, compute_mode=mode)


def distances_within(points: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """As `distances` from a set to itself, with an exact 0 from each point to itself."""
    for rows, block in distances(points, points):
        block.diagonal(rows.start).zero_()
        yield rows, block
