"""Policies: for each image a few operations out of fourteen, drawn at random.

Operations, their ranges and the nearest-pixel sampling are torchvision's. Images that drew the same operation are
changed together, so the cost is that of the operations and not of a loop over images. Everything is done on bytes,
as in the imaging libraries for which the policies were found: floats are rounded to 1/255 first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.bounds import NonNegative, PositiveInt
from limbeck.errors import DataError
from limbeck.sources import pixel_ops as ops
from limbeck.sources.augment import DRAWS, on_bytes, precise, whole

LEVELS = 30
"""Magnitudes run from 0 to this."""
DRAWS_EACH = 2
"""Numbers that one operation uses: which one, and its direction (or strength)."""

Operation = Callable[[Tensor, Tensor], Tensor]
Warp = Callable[[Tensor, int, int], Tensor]


@on_bytes
def rand_augment(
    images: Tensor, draws: Tensor, *, num_ops: PositiveInt = 2, magnitude: NonNegative = 9.0
) -> Tensor:
    """A few random operations, all at one magnitude.

    Args:
        images: shape (n, c, h, w), bytes, or floats in [0, 1].
        draws: shape (n, DRAWS); two for each operation are used.
        num_ops: operations an image, one after the other, at most 4.
        magnitude: 0 to 30; 9 is torchvision's default, 10 that of multi-level logit distillation.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: too many operations, or a magnitude beyond 30.

    References:
        RandAugment [cubuk2020randaugment].
    """
    if num_ops * DRAWS_EACH > DRAWS or magnitude > LEVELS:
        raise DataError(
            f"rand_augment: num_ops is at most {DRAWS // DRAWS_EACH} and magnitude at most {LEVELS}, got "
            f"{num_ops} and {magnitude}."
        )
    pixels = _bytes(images)
    for number in range(num_ops):
        which, direction = draws[:, DRAWS_EACH * number], draws[:, DRAWS_EACH * number + 1]
        level = torch.full_like(which, magnitude / LEVELS)
        pixels = _apply(pixels, which, torch.where(direction < 0.5, -level, level), RAND)
    return _like(images, pixels)


@on_bytes
def trivial_augment(images: Tensor, draws: Tensor) -> Tensor:
    """One random operation at a random magnitude, from wide ranges.

    Args:
        images: shape (n, c, h, w), bytes, or floats in [0, 1].
        draws: shape (n, DRAWS); three are used.

    Returns:
        Shape and kind of `images`.

    References:
        TrivialAugment [muller2021trivialaugment], the wide variant.
    """
    level = whole(draws[:, 1], LEVELS + 1).to(draws.dtype) / LEVELS
    signed = torch.where(draws[:, 2] < 0.5, -level, level)
    return _like(images, _apply(_bytes(images), draws[:, 0], signed, WIDE))


@dataclass(frozen=True)
class Policy:
    """Operations at signed levels from -1 to 1.

    Attributes:
        warps: name -> the inverse affine maps, (n, 2, 3), at levels (n,), for a height and a width.
        colours: name -> images, floats in [0, 1], changed at levels.
    """

    warps: Mapping[str, Warp]
    colours: Mapping[str, Operation]

    def __len__(self) -> int:
        """Operations, the one that does nothing included."""
        return 1 + len(self.warps) + len(self.colours)


def _apply(images: Tensor, draw: Tensor, level: Tensor, policy: Policy) -> Tensor:
    """To each image, of bytes, its operation; all warps are one."""
    if len(images) == 0:
        return images
    which = whole(draw, len(policy))
    order = which.argsort(stable=True)
    # The one number that a host has to wait for: how many images drew which operation.
    counts = torch.bincount(which, minlength=len(policy)).tolist()
    sorted_images, level = images.index_select(0, order), level[order]
    warped, *coloured = sorted_images.split([sum(counts[: len(policy.warps)]), *counts[len(policy.warps) :]])
    parts = []
    if len(warped):
        levels = level.split(counts)
        size = images.shape[2:]
        maps = [warp(part, *size) for warp, part in zip(policy.warps.values(), levels, strict=False)]
        parts.append(ops.warp(warped, torch.cat(maps)))
    start = len(warped)
    for operation, part in zip(policy.colours.values(), coloured, strict=False):
        if len(part):
            changed = operation(part.to(torch.float32).div_(255), level[start : start + len(part)])
            parts.append(_bytes(changed))
            start += len(part)
    parts.append(coloured[-1])
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    return torch.cat(parts).index_select(0, place)


def _bytes(images: Tensor) -> Tensor:
    return (images * 255).round_().to(torch.uint8) if images.is_floating_point() else images


def _like(images: Tensor, pixels: Tensor) -> Tensor:
    return pixels.to(images.dtype).div_(255) if images.is_floating_point() else pixels


def _shear(largest: float, *, axis: int) -> Warp:
    def inverse(level: Tensor, height: int, width: int) -> Tensor:
        found = _identity(level)
        found[:, axis, 1 - axis] = largest * level.to(found.dtype)
        # About the top left corner, as the operation has been defined since it was one of the imaging library's.
        found[:, axis, 2] = found[:, axis, 1 - axis] * (height, width)[axis] / 2
        return found

    return inverse


def _shift(largest: Callable[[int], float], *, axis: int) -> Warp:
    def inverse(level: Tensor, height: int, width: int) -> Tensor:
        found = _identity(level)
        found[:, axis, 2] = -(level.to(found.dtype) * largest((width, height)[axis])).trunc()
        return found

    return inverse


def _turn(degrees: float) -> Warp:
    def inverse(level: Tensor, height: int, width: int) -> Tensor:
        found = _identity(level)
        angle = level.to(found.dtype) * math.radians(degrees)
        found[:, 0, 0] = found[:, 1, 1] = angle.cos()
        found[:, 0, 1], found[:, 1, 0] = -angle.sin(), angle.sin()
        return found

    return inverse


def _identity(level: Tensor) -> Tensor:
    return torch.eye(2, 3, device=level.device, dtype=precise(level.device)).repeat(len(level), 1, 1)


def _policy(*, shear: float, shift: Callable[[int], float], degrees: float, colour: float, bits: int) -> Policy:
    """The fourteen operations with the ends of their ranges."""

    def scaled(scale: Operation) -> Operation:
        return lambda images, level: scale(images, 1 + colour * level)

    return Policy(
        warps={
            "shear_x": _shear(shear, axis=0),
            "shear_y": _shear(shear, axis=1),
            "translate_x": _shift(shift, axis=0),
            "translate_y": _shift(shift, axis=1),
            "rotate": _turn(degrees),
        },
        colours={
            "brightness": scaled(ops.scale_brightness),
            "colour": scaled(ops.scale_saturation),
            "contrast": scaled(ops.scale_contrast),
            "sharpness": scaled(ops.scale_sharpness),
            "posterise": lambda images, level: ops.posterise(images, 8 - (bits * level.abs()).round()),
            "solarise": lambda images, level: ops.solarise(images, 1 - level.abs()),
            "stretch_contrast": lambda images, level: ops.stretch_contrast(images),
            "equalise": lambda images, level: ops.equalise(images),
        },
    )


RAND = _policy(shear=0.3, shift=lambda length: 150 / 331 * length, degrees=30, colour=0.9, bits=4)
"""RandAugment's ranges, which were AutoAugment's."""
WIDE = _policy(shear=0.99, shift=lambda length: 32.0, degrees=135, colour=0.99, bits=6)
"""TrivialAugment's."""
