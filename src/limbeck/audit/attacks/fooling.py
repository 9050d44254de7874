"""Whom adversarial images fool."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import ShapeError


def fooled(clean: Tensor, adversarial: Tensor) -> Tensor:
    """Whether a network's prediction changed from its own for the clean image; the mean is its fooling rate.

    Comparing with the label instead would count clean mistakes as fooled.

    Args:
        clean: predicted classes, shape (n,), int64.
        adversarial: the same network's for the attacked images.

    Returns:
        1 or 0, shape (n,), float64.

    Raises:
        ShapeError: different shapes, or logits in the place of classes.

    References:
        Section 4.2 of [ojha2023knowledge].

    Example:
        >>> fooled(torch.tensor([0, 1, 2]), torch.tensor([0, 2, 0])).tolist()
        [0.0, 1.0, 1.0]
    """
    _require_rows("fooled", clean, adversarial)
    if clean.is_floating_point() or adversarial.is_floating_point():
        raise ShapeError(
            "fooled: expected predicted classes (int64), got floats; take the argmax of logits first."
        )
    return (clean != adversarial).to(torch.float64)


def on_successful(values: Tensor, teacher_fooled: Tensor) -> Tensor:
    """One network's numbers on the images that fooled the teacher; the others do not count.

    Args:
        values: of each image, shape (n,).
        teacher_fooled: `fooled` of the network that was attacked, shape (n,).

    Returns:
        Shape (n,), NaN for images that did not fool the teacher.

    Raises:
        ShapeError: different shapes.

    References:
        Section 4.2 of [ojha2023knowledge], which keeps these images alone.

    Example:
        >>> on_successful(torch.tensor([1.0, 0.0, 1.0]), torch.tensor([1.0, 1.0, 0.0])).tolist()
        [1.0, 0.0, nan]
    """
    _require_rows("on_successful", values, teacher_fooled)
    return values.masked_fill(teacher_fooled != 1, torch.nan)


def _require_rows(where: str, first: Tensor, second: Tensor) -> None:
    if first.ndim != 1 or first.shape != second.shape:
        raise ShapeError(
            f"{where}: expected two shapes (n,) of the same images, got {tuple(first.shape)} and "
            f"{tuple(second.shape)}."
        )
