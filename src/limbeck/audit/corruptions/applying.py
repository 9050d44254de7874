"""What all corruptions share: checks, bounded memory, the published severities, and 8-bit pictures at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TypeVar

import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError, ShapeError

SMALL = 48
"""Images up to this many pixels a side get the severities of the published set of 32 x 32 images."""
_PART = 1 << 20

Corruption = TypeVar("Corruption", bound=Callable[..., Tensor])
Constant = TypeVar("Constant")


def corruption(function: Corruption) -> Corruption:
    """Make a function of (images, index, severity, seed) a corruption.

    It is given images part by part, so that its intermediate results stay small, and what it returns is cut off at
    [0, 1] and rounded to the 256 levels of a stored picture.
    """

    @wraps(function)
    def checked(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
        _check(function.__name__, images, index, severity)
        if not len(images):
            return images.clone()
        size = max(1, _PART // images[0].numel())
        parts = zip(images.split(size), index.to(images.device).split(size), strict=True)
        return torch.cat([_stored(function(*part, severity=severity, seed=seed), images) for part in parts])

    return checked  # type: ignore[return-value]


def chosen(images: Tensor, severity: int, small: Sequence[Constant], large: Sequence[Constant]) -> Constant:
    """The constant of a severity, for images of this size."""
    return (small if max(images.shape[2:]) <= SMALL else large)[severity - 1]


def levels(images: Tensor) -> Tensor:
    """Images rounded to 256 levels, as whole numbers 0 to 255 (int64)."""
    return (images * 255).round().clamp(0, 255).long()


def _stored(images: Tensor, like: Tensor) -> Tensor:
    return ((images * 255).round().clamp(0, 255) / 255).to(like.dtype)


def _check(name: str, images: Tensor, index: Tensor, severity: int) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ShapeError(
            f"{name} takes images (n, c, h, w) with 1 or 3 channels; got shape {tuple(images.shape)}."
        )
    if not images.is_floating_point():
        raise DataError(f"{name} takes floats in [0, 1]; got {images.dtype}. Divide bytes by 255.")
    if tuple(index.shape) != (len(images),):
        raise ShapeError(
            f"{name}: {len(images)} images need as many numbers in index; got shape {tuple(index.shape)}."
        )
    if severity not in (1, 2, 3, 4, 5):
        raise ConfigError(f"{name}: severity is 1, 2, 3, 4 or 5; got {severity!r}.")
