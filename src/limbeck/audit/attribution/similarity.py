"""How alike two networks' maps are, image by image."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.numerics.precision import promoted


def enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps of another size: bilinear, the corners not aligned.

    Args:
        maps: shape (n, rows, columns).
        size: rows and columns wanted.
    """
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def map_cosine(first: Tensor, second: Tensor, *, size: tuple[int, int] | None = None) -> Tensor:
    """Cosine between two networks' maps of each image, whatever their scales; nothing is subtracted.

    Args:
        first: unscaled maps, shape (n, rows, columns).
        second: those of another network for the same images and classes, of any size.
        size: rows and columns that both are enlarged to; of each the larger unless given.

    Returns:
        Shape (n,), in [-1, 1] (from 0 for maps without negative values), at least float32; NaN for images with a
        map that is zero everywhere, which has no direction.

    Raises:
        ShapeError: maps of different numbers of images.
        DataError: values that are not finite.

    References:
        Section 4.1 of [ojha2023knowledge].

    Example:
        >>> a, b = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]]), torch.tensor([[[3.0, 4.0]], [[1.0, 1.0]]])
        >>> map_cosine(a, b)
        tensor([0.6000,    nan])
    """
    if first.ndim != 3 or second.ndim != 3 or len(first) != len(second):
        raise ShapeError(
            f"map_cosine: expected maps (n, rows, columns) of the same images; got {tuple(first.shape)} and "
            f"{tuple(second.shape)}."
        )
    first, second = promoted(first, second)
    for name, maps in (("first", first), ("second", second)):
        if not bool(maps.isfinite().all()):
            row = int((~maps.isfinite()).flatten(1).any(dim=1).nonzero()[0])
            raise DataError(f"map_cosine: the {name} map of image {row} is not finite.")
    if size is None:
        size = (max(first.shape[1], second.shape[1]), max(first.shape[2], second.shape[2]))
    # Scaled by their largest values, so that maps of tiny gradients keep their digits.
    a, b = (_scaled(enlarged(maps, size).flatten(1)) for maps in (first, second))
    return F.normalize(a, dim=1).mul(F.normalize(b, dim=1)).sum(dim=1).clamp(-1, 1)


def _scaled(rows: Tensor) -> Tensor:
    """Zero over zero is NaN, which is what a map without direction is worth."""
    return rows / rows.abs().amax(dim=1, keepdim=True)


def counted_in_all(*values: Tensor) -> tuple[Tensor, ...]:
    """NaN in every network's numbers where it is NaN in one, so that all are about the same images.

    Args:
        values: of one network each, shape (n,).

    Example:
        >>> counted_in_all(torch.tensor([1.0, float("nan")]), torch.tensor([0.5, 0.5]))
        (tensor([1., nan]), tensor([0.5000,    nan]))
    """
    lost = torch.stack([v.isnan() for v in values]).any(dim=0)
    return tuple(v.masked_fill(lost, torch.nan) for v in values)


def wins(first: Tensor, second: Tensor, *, ties: Literal["half", "none"] = "half") -> Tensor:
    """Whether the first network is the closer one, image by image; the mean is the win rate.

    Args:
        first: likeness of the first network to the teacher, shape (n,); NaN where it has none.
        second: likeness of the second.
        ties: worth one half, or nothing (the paper counts strict wins).

    Returns:
        1, 0, or one half, shape (n,); NaN where either is NaN.

    Raises:
        ShapeError: different shapes.

    References:
        Section 4.1 of [ojha2023knowledge], where 50 % means that nothing was transferred.

    Example:
        >>> wins(torch.tensor([0.9, 0.5, 0.1]), torch.tensor([0.8, 0.5, 0.2]))
        tensor([1.0000, 0.5000, 0.0000])
    """
    if ties not in ("half", "none"):
        raise ConfigError(f"wins: ties is 'half' or 'none', got {ties!r}.")
    if first.shape != second.shape or first.ndim != 1:
        raise ShapeError(f"wins: expected two shapes (n,), got {tuple(first.shape)} and {tuple(second.shape)}.")
    found = (first > second).to(first.dtype)
    if ties == "half":
        found = found + 0.5 * (first == second)
    return found.masked_fill(first.isnan() | second.isnan(), torch.nan)
