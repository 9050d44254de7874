"""Random regions of whole batches: cut out and enlarged, or erased."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limbeck.bounds import Fraction, Positive
from limbeck.errors import DataError
from limbeck.sources.augment import need_floats
from limbeck.sources.pixel_ops import warp


def random_resized_crop(
    images: Tensor, draws: Tensor, *, smallest: Fraction = 0.08, stretch: Positive = 1.3333
) -> Tensor:
    """A random part of the image, enlarged to its size, bilinear.

    For images that have one size already; images of many sizes are cropped while they are read
    (`folder` with `crop`).

    Args:
        images: shape (n, c, h, w), floats.
        draws: shape (n, DRAWS); four are used.
        smallest: share of the area that is kept at least; 0.08 is the default on ImageNet.
        stretch: largest ratio of width to height, and of height to width; 4 / 3 is usual.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: images of whole numbers, or a stretch below 1.
    """
    need_floats("random_resized_crop", images)
    if stretch < 1:
        raise DataError(f"random_resized_crop: stretch is a ratio of at least 1, got {stretch}.")
    d = draws.double()
    area = smallest + (1 - smallest) * d[:, 0]
    ratio = torch.exp((2 * d[:, 1] - 1) * math.log(stretch))
    height, width = images.shape[2:]
    across, down = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    inverse = d.new_zeros(len(d), 2, 3)
    inverse[:, 0, 0], inverse[:, 1, 1] = across, down
    inverse[:, 0, 2] = (d[:, 2] - 0.5) * (1 - across) * width
    inverse[:, 1, 2] = (d[:, 3] - 0.5) * (1 - down) * height
    return warp(images, inverse, mode="bilinear")


def random_erasing(
    images: Tensor,
    draws: Tensor,
    *,
    probability: Fraction = 0.25,
    smallest: Fraction = 0.02,
    largest: Fraction = 0.33,
    stretch: Positive = 3.3,
) -> Tensor:
    """A random rectangle set to zero, in a share of the images.

    Args:
        images: shape (n, c, h, w).
        draws: shape (n, DRAWS); five are used.
        probability: of losing a rectangle.
        smallest: share of the area that it has at least.
        largest: share of the area that it has at most.
        stretch: largest ratio of width to height, and of height to width.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: smallest above largest, or a stretch below 1.

    References:
        Random erasing [zhong2020random].
    """
    if smallest > largest or stretch < 1:
        raise DataError(
            f"random_erasing: needs smallest <= largest and stretch >= 1, got {smallest}, {largest} and {stretch}."
        )
    d = draws.double()
    area = smallest + (largest - smallest) * d[:, 1]
    ratio = torch.exp((2 * d[:, 2] - 1) * math.log(stretch))
    columns = _stripe(d[:, 3], (area * ratio).sqrt().clamp(max=1), images.shape[3])
    rows = _stripe(d[:, 4], (area / ratio).sqrt().clamp(max=1), images.shape[2])
    chosen = (draws[:, 0] < probability)[:, None, None]
    return images.masked_fill((chosen & rows[:, :, None] & columns[:, None])[:, None], 0)


def _stripe(place: Tensor, share: Tensor, length: int) -> Tensor:
    """Which positions lie in a stripe of that share of the length, wholly inside, shape (n, length)."""
    size = (share * length).round().clamp(min=1)
    start = (place * (length - size + 1)).floor()
    position = torch.arange(length, device=place.device)
    return (position >= start[:, None]) & (position < (start + size)[:, None])
