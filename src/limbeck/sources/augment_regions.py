"""Random regions of whole batches: cut out and enlarged, or erased."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.bounds import Fraction, Positive, PositiveInt
from limbeck.errors import DataError
from limbeck.sources.augment import blackened, more, need_floats, precise, whole

_ATTEMPTS = 10


def random_resized_crop(
    images: Tensor,
    draws: Tensor,
    *,
    size: PositiveInt | None = None,
    smallest: Fraction = 0.08,
    stretch: Positive = 1.3333333333333333,
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
) -> Tensor:
    """A random part of the image, brought to one size; what is shrunk is smoothed.

    As the first augmentation of images on disk it is done while they are read, on the whole image in the file.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        draws: shape (n, DRAWS).
        size: side of the square result in pixels; that of the images unless given.
        smallest: share of the area that is kept at least; 0.08 is the default on ImageNet.
        stretch: largest ratio of width to height, and of height to width; 4 / 3 is usual.
        interpolation: between pixels.

    Returns:
        Kind of `images`, shape (n, c, size, size).

    Raises:
        DataError: images of whole numbers, or a stretch below 1.
    """
    need_floats("random_resized_crop", images)
    height, width = images.shape[2:]
    boxes = crop_boxes(draws, height, width, smallest=smallest, stretch=stretch)
    return resized_crop(images, boxes, size=(size or height, size or width), interpolation=interpolation)


def crop_boxes(draws: Tensor, height: int, width: int, *, smallest: float, stretch: float) -> Tensor:
    """Regions of random area and shape: top, left, height, width in pixels, shape (n, 4), int64.

    As in torchvision, the first of ten attempts counts that fits into the image; if none does, the largest
    region in the middle whose shape is allowed.

    Args:
        draws: shape (n, DRAWS).
        height: of the image.
        width: likewise.
        smallest: share of the area, at least.
        stretch: largest ratio of the sides.

    Raises:
        DataError: a stretch below 1.
    """
    if stretch < 1:
        raise DataError(f"random_resized_crop: stretch is a ratio of at least 1, got {stretch}.")
    numbers = more(draws, 2 * _ATTEMPTS + 2)
    d = numbers.to(precise(draws.device))
    area = height * width * (smallest + (1 - smallest) * d[:, :_ATTEMPTS])
    ratio = torch.exp((2 * d[:, _ATTEMPTS : 2 * _ATTEMPTS] - 1) * math.log(stretch))
    wide, high = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
    fits = (wide > 0) & (wide <= width) & (high > 0) & (high <= height)
    # One attempt more that always fits.
    last = (round(min(height, width * stretch)), round(min(width, height * stretch)))
    first = torch.cat((fits, torch.ones_like(fits[:, :1])), dim=1).int().argmax(dim=1, keepdim=True)
    high = torch.cat((high, torch.full_like(high[:, :1], last[0])), dim=1).gather(1, first)[:, 0]
    wide = torch.cat((wide, torch.full_like(wide[:, :1], last[1])), dim=1).gather(1, first)[:, 0]
    middle = first[:, 0] == _ATTEMPTS
    top = torch.where(middle, (height - high) // 2, _below(numbers[:, -2], height - high + 1))
    left = torch.where(middle, (width - wide) // 2, _below(numbers[:, -1], width - wide + 1))
    return torch.stack((top, left, high, wide), dim=1)


def resized_crop(
    images: Tensor, boxes: Tensor, *, size: tuple[int, int], interpolation: Literal["bilinear", "bicubic"]
) -> Tensor:
    """A region of each image, resized as torchvision does it with antialiasing.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        boxes: top, left, height, width of the regions, shape (n, 4).
        size: height and width of the result.
        interpolation: between pixels.
    """
    if interpolation == "bilinear" and size[0] >= images.shape[2] and size[1] >= images.shape[3]:
        return _enlarged(images, boxes, size)
    for axis in (2, 3):
        images = _resampled(images, boxes[:, axis - 2], boxes[:, axis], size[axis - 2], axis, interpolation)
    return images.clamp(0, 1)


def random_erasing(
    images: Tensor,
    draws: Tensor,
    *,
    probability: Fraction = 0.25,
    smallest: Fraction = 0.02,
    largest: Fraction = 0.33,
    stretch: Positive = 3.3,
    fill: Literal["black", "noise"] = "black",
) -> Tensor:
    """A random rectangle erased, in a share of the images.

    Args:
        images: shape (n, c, h, w); floats in [0, 1] for noise.
        draws: shape (n, DRAWS); five are used, and others made of them for noise.
        probability: of losing a rectangle.
        smallest: share of the area that it has at least.
        largest: share of the area that it has at most.
        stretch: largest ratio of width to height, and of height to width.
        fill: what stands in the rectangle: zero, or uniform noise in every pixel.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: smallest above largest, a stretch below 1, or noise for images of whole numbers.

    References:
        Random erasing [zhong2020random], whose erased pixels are uniform noise.
    """
    if smallest > largest or stretch < 1:
        raise DataError(
            f"random_erasing: needs smallest <= largest and stretch >= 1, got {smallest}, {largest} and {stretch}."
        )
    d = draws.to(precise(draws.device))
    area = smallest + (largest - smallest) * d[:, 1]
    ratio = torch.exp((2 * d[:, 2] - 1) * math.log(stretch))
    columns = _stripe(d[:, 3], (area * ratio).sqrt().clamp(max=1), images.shape[3])
    rows = _stripe(d[:, 4], (area / ratio).sqrt().clamp(max=1), images.shape[2])
    chosen = (draws[:, 0] < probability)[:, None, None]
    erased = chosen & rows[:, :, None] & columns[:, None]
    if fill == "black":
        return blackened(images, erased)
    need_floats("random_erasing with noise", images)
    noise = more(draws[:, 5:], images[0].numel() if len(images) else 0)
    return torch.where(erased[:, None], noise.to(images.dtype).view(images.shape), images)


def _below(draws: Tensor, counts: Tensor) -> Tensor:
    """Uniform whole numbers below a count for each image."""
    return (whole(draws, 1 << 24) * counts) >> 24


def _enlarged(images: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    axes = []
    for axis in (1, 0):
        start, length, whole_length = boxes[:, axis, None], boxes[:, axis + 2, None], images.shape[2 + axis]
        place = torch.arange(size[axis], device=images.device, dtype=precise(images.device))
        # Held inside the region: at its border nothing from outside comes in.
        inside = ((place + 0.5) * (length / size[axis]) - 0.5).clamp(min=0).minimum(length - 1) + start
        axes.append((2 * inside + 1) / whole_length - 1)
    x, y = axes
    grid = torch.stack((x[:, None, :].expand(-1, *size), y[:, :, None].expand(-1, *size)), dim=-1)
    return F.grid_sample(images, grid.to(images.dtype), padding_mode="border", align_corners=False)


def _resampled(images: Tensor, start: Tensor, length: Tensor, size: int, axis: int, interpolation: str) -> Tensor:
    """One axis at a time, one neighbour at a time: no matrix product, whose rounding depends on the batch."""
    reach = 2 if interpolation == "bicubic" else 1
    scale = (length.to(precise(images.device)) / size)[:, None]
    support = reach * scale.clamp(min=1)
    middle = (torch.arange(size, device=images.device, dtype=scale.dtype) + 0.5) * scale
    low = (middle - support + 0.5).long().clamp(min=0)
    high = (middle + support + 0.5).long().minimum(length[:, None])
    taps = math.ceil(2 * reach * max(images.shape[axis] / size, 1)) + 1
    place = low[..., None] + torch.arange(taps, device=images.device)
    weight = _kernel((place + 0.5 - middle[..., None]) / scale.clamp(min=1)[..., None], interpolation)
    weight = torch.where(place < high[..., None], weight, torch.zeros_like(weight))
    total = weight[..., 0]
    for k in range(1, taps):
        total = total + weight[..., k]
    weight = (weight / total[..., None]).to(images.dtype)
    place = (place.minimum(length[:, None, None] - 1) + start[:, None, None]).clamp(min=0)
    across = (len(images), 1, size, 1) if axis == 2 else (len(images), 1, 1, size)
    shape = [*images.shape]
    shape[axis] = size
    found = images.new_zeros(shape)
    for k in range(taps):
        neighbour = images.gather(axis, place[..., k].view(across).expand(shape))
        found.addcmul_(neighbour, weight[..., k].view(across))
    return found


def _kernel(distance: Tensor, interpolation: str) -> Tensor:
    x = distance.abs()
    if interpolation == "bilinear":
        return (1 - x).clamp(min=0)
    a = -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _stripe(place: Tensor, share: Tensor, length: int) -> Tensor:
    """Which positions lie in a stripe of that share of the length, wholly inside, shape (n, length)."""
    size = (share * length).round().clamp(min=1)
    start = (place * (length - size + 1)).floor()
    position = torch.arange(length, device=place.device)
    return (position >= start[:, None]) & (position < (start + size)[:, None])
