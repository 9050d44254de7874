"""Errors of a regression, image by image: squared, root, and the pseudo-Huber between the two."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limbeck.bounds import Positive
from limbeck.numerics.precision import promoted

PER_VALUE = 0.00054
"""c of the pseudo-Huber loss over the number of values of an image (Lee et al. 2024, section 4.2)."""


def squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean over the values of an image of the squared error.

    Args:
        predicted: (n, ...).
        target: the same shape.

    Returns:
        (n,).

    Example:
        >>> squared_error(torch.zeros(1, 4), torch.full((1, 4), 2.0)).item()
        4.0
    """
    found, wanted = promoted(predicted, target)
    error = found - wanted
    return error.square().flatten(1).mean(1)


def root_squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Root of `squared_error`: what the released code of 2-rectified flow++ calls l2.

    Args:
        predicted: (n, ...).
        target: the same shape.

    Returns:
        (n,); its gradient at a perfect prediction is zero.
    """
    square = squared_error(predicted, target)
    # The root has no slope at zero; a perfect image contributes none.
    return torch.where(square > 0, square.clamp_min(torch.finfo(square.dtype).tiny).sqrt(), square)


def pseudo_huber(
    predicted: Tensor, target: Tensor, *, c: Positive | None = None, per_value: bool = True
) -> Tensor:
    """(sqrt(|e|^2 + c^2) - c) / d over the d values of an image (Lee et al. 2024, section 4.2).

    For errors far below c it is |e|^2 / (2 c d), far above it |e| / d; its gradient is never longer than 1 / d.

    Args:
        predicted: (n, ...).
        target: the same shape.
        c: where the square turns into the root; 0.00054 d unless given.
        per_value: divide by d, as the released code does; the paper's formula does not, which matters beside
            another loss.

    Returns:
        (n,).

    Example:
        >>> round(pseudo_huber(torch.zeros(1, 4), torch.full((1, 4), 2.0), c=3.0).item(), 3)
        0.5
    """
    found, wanted = promoted(predicted, target)
    error = (found - wanted).flatten(1)
    values = error.shape[1]
    knee = PER_VALUE * values if c is None else c
    square = error.square().sum(1)
    # |e|^2 / (root + c) is the same as root - c and keeps its digits where the error is small.
    each = square / ((square + knee**2).sqrt() + knee)
    return each / values if per_value else each


def knee_of(image_shape: tuple[int, ...]) -> float:
    """The paper's c for images of a shape, 0.00054 d.

    Example:
        >>> round(knee_of((3, 32, 32)), 3)
        1.659
    """
    return PER_VALUE * math.prod(image_shape)
