"""Filters of whole batches whose result does not depend on the batch: double precision, one image at a time."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


def smoothed(images: Tensor, sigma: float, *, mirrored: bool = False, reach: float = 4.0) -> Tensor:
    """Gaussian blur.

    Args:
        images: shape (n, c, h, w).
        sigma: deviation in pixels; 0 changes nothing.
        mirrored: the image goes on as its mirror image beyond its borders, else with its outermost pixels.
        reach: the filter is cut off at so many deviations.

    Returns:
        Shape and kind of `images`.
    """
    if sigma <= 0:
        return images
    radius = int(reach * sigma + 0.5)
    rows = _smoothing(images.shape[2], sigma, radius, mirrored).to(images.device)
    columns = _smoothing(images.shape[3], sigma, radius, mirrored).to(images.device)
    return (rows @ images.to(torch.float64) @ columns.T).to(images.dtype)


def filtered(images: Tensor, kernel: Tensor) -> Tensor:
    """Correlation with one filter for all channels; beyond the borders lies the mirror image, without its edge.

    Args:
        images: shape (n, c, h, w).
        kernel: shape (k, l), both odd.

    Returns:
        Shape and kind of `images`.
    """
    height, width = images.shape[2:]
    top, left = kernel.shape[0] // 2, kernel.shape[1] // 2
    rows = reflected(torch.arange(-top, height + top), height).to(images.device)
    columns = reflected(torch.arange(-left, width + left), width).to(images.device)
    padded = images.to(torch.float64)[:, :, rows][:, :, :, columns]
    size = (padded.shape[2], padded.shape[3])
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernel.to(padded), s=size).conj()
    found: Tensor = torch.fft.irfft2(spectrum, s=size)
    return found[:, :, :height, :width].to(images.dtype)


def disc(radius: float, softness: float) -> Tensor:
    """The spot of light that a point out of focus makes: a disc with a softened edge, shape (k, k), sum 1.

    Args:
        radius: in pixels.
        softness: deviation in pixels of the blur of the disc, over 3 x 3 pixels up to radius 8 and 5 x 5 above.
    """
    reach = 1 if radius <= 8 else 2
    side = torch.arange(-math.floor(radius) - reach, math.floor(radius) + reach + 1, dtype=torch.float64)
    inside = (side[:, None] ** 2 + side**2 <= radius**2).to(torch.float64)
    edge = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / softness) ** 2)
    edge = edge / edge.sum()
    soft = F.conv2d((inside / inside.sum())[None, None], (edge[:, None] * edge)[None, None], padding=reach)
    return soft[0, 0]


def streaked(images: Tensor, angle: Tensor, *, radius: float, sigma: float) -> Tensor:
    """Motion blur: half a Gaussian drawn out in one direction, each image in its own; borders are repeated.

    Args:
        images: shape (n, c, h, w).
        angle: in degrees from the horizontal, shape (n,).
        radius: the streak has 2 radius + 1 pixels.
        sigma: deviation along the streak in pixels.

    Returns:
        Shape and kind of `images`.
    """
    n, channels, height, width = images.shape
    steps = 2 * math.ceil(radius) + 1
    weights = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(steps)]
    weights = [weight for weight in weights if weight > 1e-6]
    turn = angle.to(torch.float64) * (math.pi / 180)
    row = torch.arange(height, device=images.device)[None, :, None]
    column = torch.arange(width, device=images.device)[None, None, :]
    total = torch.zeros_like(images)
    for step, weight in enumerate(weights):
        down = (step * turn.sin()).round().long()[:, None, None]
        right = (step * turn.cos()).round().long()[:, None, None]
        place = (row + down).clamp(0, height - 1) * width + (column + right).clamp(0, width - 1)
        found = images.flatten(2).gather(2, place.view(n, 1, -1).expand(-1, channels, -1))
        total.add_(found.view_as(images), alpha=weight / sum(weights))
    return total


def magnified(images: Tensor, factor: float) -> Tensor:
    """The middle of the image, this many times as large (at least 1), between pixels bilinearly.

    Args:
        images: shape (n, c, h, w).
        factor: at least 1.

    Returns:
        Shape and kind of `images`.
    """
    across = torch.linspace(-1, 1, images.shape[3], dtype=images.dtype, device=images.device) / factor
    down = torch.linspace(-1, 1, images.shape[2], dtype=images.dtype, device=images.device) / factor
    grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
    return F.grid_sample(images, grid.expand(len(images), -1, -1, -1), padding_mode="border", align_corners=True)


def reflected(place: Tensor, length: int) -> Tensor:
    """Places along an axis folded back into it; the outermost pixels are not repeated.

    Example:
        >>> reflected(torch.arange(-3, 6), 3).tolist()
        [1, 2, 1, 0, 1, 2, 1, 0, 1]
    """
    if length == 1:
        return torch.zeros_like(place)
    period = 2 * (length - 1)
    folded = place.remainder(period)
    return torch.minimum(folded, period - folded)


@lru_cache(maxsize=64)
def _smoothing(length: int, sigma: float, radius: int, mirrored: bool) -> Tensor:
    """The blur along an axis as a matrix, borders included."""
    offset = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (offset.to(torch.float64) / sigma) ** 2)
    place = torch.arange(length)[:, None] + offset
    if mirrored:
        folded = place.remainder(2 * length)
        place = torch.minimum(folded, 2 * length - 1 - folded)
    else:
        place = place.clamp(0, length - 1)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    return matrix.scatter_add_(1, place, (weights / weights.sum()).expand(length, -1))
