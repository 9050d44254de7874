"""Augmentation of whole batches on their device, each image's by its own uniform numbers.

Every function takes images (n, c, h, w) and draws (n, DRAWS) in [0, 1), and nothing else: the same draws give the
same image, whatever batch it stands in. So everything is computed pixel by pixel: matrix products and convolutions
round as the size of the batch has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.bounds import Fraction, NonNegative, PositiveInt
from limbeck.errors import DataError
from limbeck.seeding import uniforms

DRAWS = 8
"""Uniform numbers that each augmentation is given for every image, needed or not; `more` makes others of them."""

Change = TypeVar("Change", bound=Callable[..., Tensor])


def on_bytes(change: Change) -> Change:
    """Mark an augmentation that gives the same images on bytes as on floats, so that a loader may give it bytes.

    They are a quarter of the memory to move.
    """
    change.on_bytes = True  # type: ignore[attr-defined]
    return change


@on_bytes
def crop(images: Tensor, draws: Tensor, *, padding: PositiveInt = 4) -> Tensor:
    """A random window of the image's own size out of the image with a zero border.

    Args:
        images: shape (n, c, h, w).
        draws: shape (n, DRAWS); two are used.
        padding: width of the border in pixels.

    Returns:
        Shape and kind of `images`.
    """
    return _windows(images, whole(draws[:, 0], 2 * padding + 1), whole(draws[:, 1], 2 * padding + 1), padding)


@on_bytes
def translate(images: Tensor, draws: Tensor, *, pixels: PositiveInt = 1) -> Tensor:
    """A shift by whole pixels in each direction, up to `pixels`; what comes in is zero.

    The same as `crop` with that padding, under the name by which it is known for very small images.

    Args:
        images: shape (n, c, h, w).
        draws: shape (n, DRAWS); two are used.
        pixels: largest shift.

    Returns:
        Shape and kind of `images`.
    """
    return crop(images, draws, padding=pixels)


@on_bytes
def flip(images: Tensor, draws: Tensor, *, probability: Fraction = 0.5) -> Tensor:
    """Left and right exchanged, for a share of the images.

    Args:
        images: shape (n, c, h, w).
        draws: shape (n, DRAWS); one is used.
        probability: of being flipped.

    Returns:
        Shape and kind of `images`.
    """
    # Whole images are picked from both kinds: a quarter of the time that choosing pixel by pixel takes.
    both = torch.cat((images, images.flip(3)))
    place = torch.arange(len(images), device=images.device)
    return both.index_select(0, place + len(images) * (draws[:, 0] < probability))


def rotate(images: Tensor, draws: Tensor, *, degrees: NonNegative = 10.0) -> Tensor:
    """A turn about the middle by up to `degrees` either way, bilinear; what comes in is zero.

    Args:
        images: shape (n, c, h, w), of floats.
        draws: shape (n, DRAWS); one is used.
        degrees: largest angle.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: images of whole numbers.
    """
    need_floats("rotate", images)
    height, width = images.shape[2:]
    exact = precise(images.device)
    angle = (draws[:, 0].to(exact) * 2 - 1) * math.radians(degrees)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    y = torch.arange(height, device=images.device, dtype=exact)[:, None] - (height - 1) / 2
    x = torch.arange(width, device=images.device, dtype=exact) - (width - 1) / 2
    grid = torch.stack(((cos * x - sin * y) * (2 / width), (sin * x + cos * y) * (2 / height)), dim=-1)
    return F.grid_sample(images, grid.to(images.dtype), mode="bilinear", padding_mode="zeros", align_corners=False)


@on_bytes
def cutout(images: Tensor, draws: Tensor, *, size: PositiveInt = 16) -> Tensor:
    """A square set to zero, its middle anywhere in the image, so that parts of it may lie outside.

    Args:
        images: shape (n, c, h, w).
        draws: shape (n, DRAWS); two are used.
        size: side of the square in pixels.

    Returns:
        Shape and kind of `images`.

    References:
        Cutout [devries2017cutout]. There the square has the mean colour (zero after normalisation); here it is
        black, as normalisation belongs to each network and comes later.
    """
    rows = _stripe(draws[:, 0], images.shape[2], size)
    columns = _stripe(draws[:, 1], images.shape[3], size)
    return blackened(images, rows[:, :, None] & columns[:, None])


def brightness(images: Tensor, draws: Tensor, *, strength: Fraction = 0.2) -> Tensor:
    """All pixels times one factor from 1 - strength to 1 + strength, cut off at [0, 1].

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        draws: shape (n, DRAWS); one is used.
        strength: largest change of the factor.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: images of whole numbers.
    """
    need_floats("brightness", images)
    return (images * _factor(draws, strength, images)).clamp(0, 1)


def contrast(images: Tensor, draws: Tensor, *, strength: Fraction = 0.2) -> Tensor:
    """The distance of all pixels from middle grey times one factor, cut off at [0, 1].

    Middle grey, not the image's own mean: no sum over pixels, hence bit-identical in every batch.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        draws: shape (n, DRAWS); one is used.
        strength: the factor lies from 1 - strength to 1 + strength.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: images of whole numbers.
    """
    need_floats("contrast", images)
    return ((images - 0.5) * _factor(draws, strength, images) + 0.5).clamp(0, 1)


def _windows(images: Tensor, top: Tensor, left: Tensor, padding: int) -> Tensor:
    """The window of each image that begins there in the image with its border; copied row by row."""
    n, channels, height, width = images.shape
    high, wide = height + 2 * padding, width + 2 * padding
    padded = images.new_zeros(n, channels, high, wide)
    padded[:, :, padding : padding + height, padding : padding + width] = images
    image = torch.arange(n, device=images.device) * channels * high * wide + top * wide + left
    plane = torch.arange(channels, device=images.device) * high * wide
    row = torch.arange(height, device=images.device) * wide
    begin = (image[:, None, None] + plane[:, None] + row).flatten()
    # Every stretch of `width` pixels in memory, as rows of an overlapping view.
    stretches = padded.as_strided((max(padded.numel() - width + 1, 0), width), (1, 1))
    return stretches.index_select(0, begin).view(images.shape)


def whole(draws: Tensor, count: int) -> Tensor:
    """Uniform whole numbers below `count`; draws are multiples of 2**-24, so this is exact."""
    return ((draws * (1 << 24)).long() * count) >> 24


def more(draws: Tensor, count: int) -> Tensor:
    """Further uniform numbers for every image, shape (n, count), as a hash of its first two draws."""
    bits = (draws[:, :2] * (1 << 24)).long()
    return uniforms((bits[:, 0] << 24) | bits[:, 1], seed=0, epoch=0, draws=count)


def precise(device: torch.device) -> torch.dtype:
    """The kind of float for coordinates and angles; one device has no double precision."""
    return torch.float32 if device.type == "mps" else torch.float64


def blackened(images: Tensor, pixels: Tensor) -> Tensor:
    """Some pixels of each image, shape (n, h, w), set to zero; as a product, which is quicker than filling."""
    return images * (~pixels)[:, None].to(images.dtype)


def only(images: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor], Any]) -> Tensor:
    """The images with those that were chosen changed; `change` is given these and their rows."""
    rows = chosen.nonzero()[:, 0]
    return images.index_copy(0, rows, change(images.index_select(0, rows), rows)) if len(rows) else images.clone()


def _stripe(draws: Tensor, length: int, size: int) -> Tensor:
    """Which of `length` positions lie in a stripe of `size` about a random middle, shape (n, length)."""
    start = whole(draws, length) - size // 2
    position = torch.arange(length, device=draws.device)
    return (position >= start[:, None]) & (position < start[:, None] + size)


def _factor(draws: Tensor, strength: float, images: Tensor) -> Tensor:
    return (1 + (draws[:, 0] * 2 - 1) * strength).to(images.dtype)[:, None, None, None]


def need_floats(name: str, images: Tensor) -> None:
    """Refuse images of whole numbers, on which the arithmetic would go wrong silently."""
    if not images.is_floating_point():
        raise DataError(f"{name} needs images of floats in [0, 1]; got {images.dtype}. Divide by 255 first.")
