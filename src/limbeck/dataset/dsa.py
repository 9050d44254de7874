"""Differentiable Siamese augmentation [zhao2021dsa]: drawn once, applied as often as wanted.

Drawing and applying are apart. A `Draw` can be replayed, which the constant-memory gradient of trajectory matching
needs, or put on a real and a synthetic batch alike, which gradient and distribution matching need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import ConfigError, did_you_mean

STRATEGY = "color_crop_cutout_flip_scale_rotate"
"""The families of images of objects; leave out `flip` for digits."""
NONE = ""
"""The strategy that changes nothing."""

CROP = 0.125
CUTOUT = 0.5
SCALE = 1.2
ROTATE = 15.0
BRIGHTNESS, SATURATION, CONTRAST = 1.0, 2.0, 0.5
"""Ranges of the published programs; sides and shifts are shares of the image's side, angles are degrees."""


@dataclass(frozen=True)
class Draw:
    """One family with its random numbers.

    Attributes:
        family: of the strategy, or "" for none.
        numbers: what the family draws, each with one entry an image (or one for all).
    """

    family: str
    numbers: tuple[Tensor, ...] = ()


def families(strategy: str) -> tuple[str, ...]:
    """The families that a strategy names, in its order.

    Raises:
        ConfigError: one that does not exist.
    """
    found = tuple(part for part in strategy.lower().split("_") if part and part != "none")
    for part in found:
        if part not in FAMILIES:
            raise ConfigError(
                f"augment: '{part}' in '{strategy}' is no family of DSA.{did_you_mean(part, FAMILIES)} "
                f"There are: {', '.join(FAMILIES)}."
            )
    return found


def draw(
    strategy: str,
    shape: Sequence[int],
    *,
    generator: torch.Generator,
    siamese: bool = False,
    device: torch.device | None = None,
) -> Draw:
    """Draw one family of the strategy and its numbers.

    Args:
        strategy: families joined by underscores; "" draws nothing.
        shape: of the images, (n, c, h, w).
        generator: on the CPU.
        siamese: one set of numbers for all images.
        device: where the numbers shall be.

    Raises:
        ConfigError: a family that does not exist.
    """
    names = families(strategy)
    if not names:
        return Draw(NONE)
    family = names[int(torch.randint(len(names), (1,), generator=generator))]
    images, height, width = (1 if siamese else shape[0]), shape[-2], shape[-1]
    numbers = FAMILIES[family][0](images, height, width, generator)
    return Draw(family, tuple(number.to(device) for number in numbers))


def apply(images: Tensor, drawn: Draw) -> Tensor:
    """Augmented images, differentiable with respect to the images.

    Args:
        images: (n, c, h, w), floating point.
        drawn: for n images, or for all alike.
    """
    if not drawn.family:
        return images
    return FAMILIES[drawn.family][1](images, *drawn.numbers)


def augment(images: Tensor, strategy: str, *, generator: torch.Generator, siamese: bool = False) -> Tensor:
    """Draw and apply at once.

    Args:
        images: (n, c, h, w), floating point.
        strategy: families joined by underscores.
        generator: on the CPU.
        siamese: one set of numbers for all images.
    """
    return apply(images, draw(strategy, images.shape, generator=generator, siamese=siamese, device=images.device))


def flip(images: Tensor, u: Tensor) -> Tensor:
    """Mirror left and right where u < 0.5."""
    return torch.where(_column(u, images) < 0.5, images.flip(3), images)


def scale(images: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Stretch by a factor in [1/1.2, 1.2] along x (from u) and along y (from v)."""
    return _warp(images, scaling(images, u, v))


def rotate(images: Tensor, u: Tensor) -> Tensor:
    """Turn by (u - 0.5) 30 degrees."""
    return _warp(images, turning(images, u))


def scaling(images: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """The affine matrices (n, 2, 3) of `scale`."""
    low = 1 / SCALE
    x, y = (number.to(images.dtype).reshape(-1) * (SCALE - low) + low for number in (u, v))
    zero = torch.zeros_like(x)
    return torch.stack([torch.stack([x, zero, zero], 1), torch.stack([zero, y, zero], 1)], 1)


def turning(images: Tensor, u: Tensor) -> Tensor:
    """The affine matrices (n, 2, 3) of `rotate`."""
    angle = torch.deg2rad((u.to(images.dtype).reshape(-1) - 0.5) * 2 * ROTATE)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)


def brightness(images: Tensor, u: Tensor) -> Tensor:
    """Add u - 0.5."""
    return images + (_column(u, images) - 0.5) * BRIGHTNESS


def saturation(images: Tensor, u: Tensor) -> Tensor:
    """Stretch the distance to the pixel's mean over channels by 2u."""
    mean = images.mean(1, keepdim=True)
    return (images - mean) * (_column(u, images) * SATURATION) + mean


def contrast(images: Tensor, u: Tensor) -> Tensor:
    """Stretch the distance to the image's mean by u + 0.5."""
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (_column(u, images) + CONTRAST) + mean


def color(images: Tensor, u: Tensor, v: Tensor, w: Tensor) -> Tensor:
    """Brightness, then saturation, then contrast."""
    return contrast(saturation(brightness(images, u), v), w)


def crop(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Shift by whole pixels, filling with zeros."""
    height, width = images.shape[-2:]
    y = torch.arange(height, device=images.device)[None] + rows.reshape(-1, 1)
    x = torch.arange(width, device=images.device)[None] + columns.reshape(-1, 1)
    inside = ((y >= 0) & (y < height))[:, None, :, None] & ((x >= 0) & (x < width))[:, None, None, :]
    place = y.clamp(0, height - 1)[:, :, None] * width + x.clamp(0, width - 1)[:, None, :]
    flat = place.reshape(len(place), 1, -1).expand(len(images), images.shape[1], -1)
    return images.flatten(2).gather(2, flat).view_as(images) * inside.to(images.dtype)


def cutout(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Blank a square of half the side around a centre, clipped at the border."""
    height, width = images.shape[-2:]
    tall, wide = _side(height, CUTOUT), _side(width, CUTOUT)
    # Rows past the border blank the border's own row, as clamping indices does.
    y, x = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    first, left = rows.reshape(-1, 1) - tall // 2, columns.reshape(-1, 1) - wide // 2
    cut_y = _covered(y, first, tall, height)
    cut_x = _covered(x, left, wide, width)
    keep = ~(cut_y[:, None, :, None] & cut_x[:, None, None, :])
    return images * keep.to(images.dtype)


def _covered(place: Tensor, first: Tensor, length: int, size: int) -> Tensor:
    last = (first + length - 1).clamp(0, size - 1)
    return (place >= first.clamp(0, size - 1)) & (place <= last)


def _warp(images: Tensor, matrix: Tensor) -> Tensor:
    grid = F.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=True)
    return F.grid_sample(images, grid, align_corners=True)


def _column(u: Tensor, images: Tensor) -> Tensor:
    return u.to(images.dtype).reshape(-1, 1, 1, 1)


def _side(size: int, share: float) -> int:
    return int(size * share + 0.5)


def _uniform(count: int) -> Callable[[int, int, int, torch.Generator], tuple[Tensor, ...]]:
    def draws(images: int, height: int, width: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        return tuple(torch.rand(images, generator=generator) for _ in range(count))

    return draws


def _shifts(images: int, height: int, width: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    return tuple(
        torch.randint(-_side(size, CROP), _side(size, CROP) + 1, (images,), generator=generator)
        for size in (height, width)
    )


def _centres(images: int, height: int, width: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    return tuple(
        torch.randint(0, size + 1 - _side(size, CUTOUT) % 2, (images,), generator=generator)
        for size in (height, width)
    )


FAMILIES: Mapping[str, tuple[Callable[..., tuple[Tensor, ...]], Callable[..., Tensor]]] = {
    "color": (_uniform(3), color),
    "crop": (_shifts, crop),
    "cutout": (_centres, cutout),
    "flip": (_uniform(1), flip),
    "scale": (_uniform(2), scale),
    "rotate": (_uniform(1), rotate),
    "brightness": (_uniform(1), brightness),
    "saturation": (_uniform(1), saturation),
    "contrast": (_uniform(1), contrast),
}
"""Family -> what it draws, and what it does with that."""
