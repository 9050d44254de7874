"""Policies: for each image a few operations out of fourteen, drawn at random.

Operations, their ranges and the nearest-pixel sampling are torchvision's. Images that drew the same operation are
changed together, so the cost is that of the operations and not of a loop over images.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from limbeck.bounds import NonNegative, PositiveInt
from limbeck.errors import DataError
from limbeck.sources import pixel_ops as ops
from limbeck.sources.augment import DRAWS, need_floats, whole

LEVELS = 30
"""Magnitudes run from 0 to this."""
DRAWS_EACH = 2
"""Numbers that one operation uses: which one, and its direction (or strength)."""

Operation = Callable[[Tensor, Tensor], Tensor]


def rand_augment(
    images: Tensor, draws: Tensor, *, num_ops: PositiveInt = 2, magnitude: NonNegative = 9.0
) -> Tensor:
    """A few random operations, all at one magnitude.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        draws: shape (n, DRAWS); two for each operation are used.
        num_ops: operations an image, one after the other, at most 4.
        magnitude: 0 to 30; 9 is torchvision's default, 10 that of multi-level logit distillation.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: images of whole numbers, too many operations, or a magnitude beyond 30.

    References:
        RandAugment [cubuk2020randaugment].
    """
    need_floats("rand_augment", images)
    if num_ops * DRAWS_EACH > DRAWS or magnitude > LEVELS:
        raise DataError(
            f"rand_augment: num_ops is at most {DRAWS // DRAWS_EACH} and magnitude at most {LEVELS}, got "
            f"{num_ops} and {magnitude}."
        )
    for number in range(num_ops):
        which, direction = draws[:, DRAWS_EACH * number], draws[:, DRAWS_EACH * number + 1]
        level = torch.full_like(which, magnitude / LEVELS)
        signed = torch.where(direction < 0.5, -level, level)
        images = _apply(images, whole(which, len(OPERATIONS)), signed)
    return images


def trivial_augment(images: Tensor, draws: Tensor) -> Tensor:
    """One random operation at a random magnitude.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        draws: shape (n, DRAWS); three are used.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: images of whole numbers.

    References:
        TrivialAugment [muller2021trivialaugment], with the ranges of `rand_augment`.
    """
    need_floats("trivial_augment", images)
    level = whole(draws[:, 1], LEVELS + 1).to(draws.dtype) / LEVELS
    signed = torch.where(draws[:, 2] < 0.5, -level, level)
    return _apply(images, whole(draws[:, 0], len(OPERATIONS)), signed)


def _apply(images: Tensor, which: Tensor, level: Tensor) -> Tensor:
    """To each image its operation, at a signed level from -1 to 1."""
    changed = images.clone()
    for number, operation in enumerate(OPERATIONS.values()):
        rows = (which == number).nonzero()[:, 0]
        if len(rows):
            changed[rows] = operation(images[rows], level[rows])
    return changed


def _sheared(images: Tensor, level: Tensor, *, axis: int) -> Tensor:
    inverse = _identity(level)
    inverse[:, axis, 1 - axis] = 0.3 * level.double()
    # About the top left corner, as the operation has been defined since it was one of the imaging library's.
    inverse[:, axis, 2] = inverse[:, axis, 1 - axis] * images.shape[2 + axis] / 2
    return ops.warp(images, inverse)


def _moved(images: Tensor, level: Tensor, *, axis: int) -> Tensor:
    inverse = _identity(level)
    largest = 150 / 331 * images.shape[3 - axis]
    inverse[:, axis, 2] = -(level.double() * largest).trunc()
    return ops.warp(images, inverse)


def _turned(images: Tensor, level: Tensor) -> Tensor:
    angle = level.double() * math.radians(30)
    inverse = _identity(level)
    inverse[:, 0, 0] = inverse[:, 1, 1] = angle.cos()
    inverse[:, 0, 1], inverse[:, 1, 0] = -angle.sin(), angle.sin()
    return ops.warp(images, inverse)


def _identity(level: Tensor) -> Tensor:
    return torch.eye(2, 3, device=level.device, dtype=torch.float64).repeat(len(level), 1, 1)


def _scaled(scale: Operation) -> Operation:
    return lambda images, level: scale(images, 1 + 0.9 * level)


OPERATIONS: dict[str, Operation] = {
    "identity": lambda images, level: images,
    "shear_x": lambda images, level: _sheared(images, level, axis=0),
    "shear_y": lambda images, level: _sheared(images, level, axis=1),
    "translate_x": lambda images, level: _moved(images, level, axis=0),
    "translate_y": lambda images, level: _moved(images, level, axis=1),
    "rotate": _turned,
    "brightness": _scaled(ops.scale_brightness),
    "colour": _scaled(ops.scale_saturation),
    "contrast": _scaled(ops.scale_contrast),
    "sharpness": _scaled(ops.scale_sharpness),
    "posterise": lambda images, level: ops.posterise(images, 8 - (4 * level.abs()).round()),
    "solarise": lambda images, level: ops.solarise(images, 1 - level.abs()),
    "stretch_contrast": lambda images, level: ops.stretch_contrast(images),
    "equalise": lambda images, level: ops.equalise(images),
}
"""Name -> operation on images and signed levels from -1 to 1."""
