"""Changes of one thing in an image: its colour, its middle, a patch, its background."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from limbeck.audit.transforms.checks import need_images
from limbeck.seeding import derive, uniforms
from limbeck.sources.pixel_ops import grey


def without_colour(images: Tensor, index: Tensor, others: Tensor, *, seed: int) -> Tensor:
    """Grey; images of one channel stay.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        index: not used.
        others: not used.
        seed: not used.
    """
    need_images("without_colour", images, index)
    return grey(images).expand_as(images) if images.shape[1] == 3 else images


def without_centre(images: Tensor, index: Tensor, others: Tensor, *, seed: int) -> Tensor:
    """The middle, half as wide and high as the image, covered with the image's mean colour.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        index: not used.
        others: not used.
        seed: not used.
    """
    need_images("without_centre", images, index)
    height, width = images.shape[2:]
    top, left = height // 4, width // 4
    changed = images.clone()
    mean = images.to(torch.float64).mean(dim=(2, 3), keepdim=True).to(images.dtype)
    changed[:, :, top : height - top, left : width - left] = mean
    return changed


def with_patch(images: Tensor, index: Tensor, others: Tensor, *, seed: int) -> Tensor:
    """A patch, two fifths as wide and high as the image, at a random place, from the same place of another image.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        index: number of each image, shape (n,), int64.
        others: the other images, of the same shape.
        seed: of the places.
    """
    need_images("with_patch", images, index)
    height, width = images.shape[2:]
    high, wide = max(1, round(0.4 * height)), max(1, round(0.4 * width))
    draws = uniforms(index.to(images.device), seed=derive(seed, "patch"), epoch=1, draws=2)
    top = (draws[:, 0] * (height - high + 1)).long()[:, None, None]
    left = (draws[:, 1] * (width - wide + 1)).long()[:, None, None]
    row = torch.arange(height, device=images.device)[None, :, None]
    column = torch.arange(width, device=images.device)[None, None, :]
    inside = (row >= top) & (row < top + high) & (column >= left) & (column < left + wide)
    return torch.where(inside[:, None], others, images)


def with_background(images: Tensor, index: Tensor, others: Tensor, *, seed: int) -> Tensor:
    """Everything outside a centred ellipse of half the image's area from another image.

    Where objects are not in the middle this takes away parts of them.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        index: not used.
        others: the other images, of the same shape.
        seed: not used.
    """
    need_images("with_background", images, index)
    height, width = images.shape[2:]
    down = (torch.arange(height, device=images.device, dtype=torch.float64)[:, None] + 0.5) / height * 2 - 1
    right = (torch.arange(width, device=images.device, dtype=torch.float64)[None, :] + 0.5) / width * 2 - 1
    return torch.where(down**2 + right**2 <= 2 / torch.pi, images, others)


INTERVENTIONS: dict[str, Callable[..., Tensor]] = {
    "grey": without_colour,
    "centre": without_centre,
    "patch": with_patch,
    "background": with_background,
}
"""Name of an intervention -> function of (images, index, others, *, seed)."""
