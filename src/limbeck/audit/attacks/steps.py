"""What all attacks share: checks of the budget and the images, the gradient, and the ball to stay in."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.errors import ConfigError, DataError, ModelError, ShapeError
from limbeck.models.outputs import logits_of
from limbeck.taps import evaluating


def ascend(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    start: Tensor,
    iterations: int,
    move: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Follow the gradient of the cross-entropy from a start.

    Args:
        network: images in [0, 1] to logits; it runs in eval mode and its parameters get no gradient.
        images: unchanged ones, in [0, 1], shape (n, c, h, w).
        labels: shape (n,), int64.
        start: where to begin, shape of `images`.
        iterations: passes forward and back.
        move: from place and gradient to the next place, which it keeps inside the ball and inside [0, 1].

    Returns:
        Shape and kind of `images`.
    """
    require_images(images, labels)
    if iterations < 1:
        raise ConfigError(f"attack: iterations is at least 1, got {iterations}.")
    place = start.detach()
    with evaluating(network):
        for _ in range(iterations):
            place = move(place, loss_gradient(network, place, labels)).detach()
    return place


def loss_gradient(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Gradient of each image's cross-entropy with respect to its pixels, shape of `images`.

    Raises:
        ModelError: a network that takes no gradients.
        DataError: a label that the network does not know, or gradients that are not finite.
    """
    pixels = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        logits = logits_of(network(pixels))
        low, high = (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)
        if low < 0 or high >= logits.shape[1]:
            raise DataError(
                f"attack: labels run from {low} to {high}, but the network has {logits.shape[1]} classes "
                f"(0 to {logits.shape[1] - 1})."
            )
        loss = F.cross_entropy(logits, labels.to(logits.device), reduction="sum")
    found = torch.autograd.grad(loss, pixels, allow_unused=True)[0] if loss.requires_grad else None
    if found is None:
        raise ModelError(
            f"{type(network).__name__} takes no gradients with respect to its images (it detaches them, rounds "
            "them or runs in inference mode), so it cannot be attacked by them."
        )
    broken = ~found.isfinite().flatten(1).all(dim=1)
    if bool(broken.any()):
        raise DataError(
            f"attack: the gradient for image {int(broken.nonzero()[0])} of the batch is not finite. Did the "
            "training of the network converge?"
        )
    return found


def within(place: Tensor, images: Tensor, eps: float) -> Tensor:
    """No pixel further than `eps` from the image's, and all in [0, 1].

    Example:
        >>> within(torch.tensor([0.9, -0.4]), torch.tensor([0.5, 0.1]), 0.25)
        tensor([0.7500, 0.0000])
    """
    return torch.minimum(torch.maximum(place, images - eps), images + eps).clamp(0, 1)


def require_budget(where: str, *, eps: float, step: float, largest: float = 1.0) -> None:
    """Require a distance in units of [0, 1] and a step that fits it.

    Args:
        where: the attack, for messages.
        eps: largest distance.
        step: of one iteration.
        largest: what `eps` may be at most.

    Raises:
        ConfigError: either out of its range, with the likely slip.
    """
    for name, value in (("eps", eps), ("step", step)):
        if not (0 < value <= (largest if name == "eps" else 2 * largest)):
            slip = f"; {value:g} looks like {value:g}/255 = {value / 255:.4f}" if 1 <= value <= 255 else ""
            raise ConfigError(
                f"{where}: {name} is in units of [0, 1], above 0 and at most "
                f"{largest if name == 'eps' else 2 * largest:g}; got {value:g}{slip}."
            )
    if step > 2 * eps:
        raise ConfigError(
            f"{where}: a step of {step:g} is longer than the ball of eps {eps:g} is wide; eps/4 is usual with 5 "
            "iterations or more."
        )


def require_images(images: Tensor, labels: Tensor) -> None:
    """Require images in [0, 1] and a label for each.

    Raises:
        DataError: pixels outside [0, 1], or of the wrong kind, with the likely slip.
        ShapeError: wrong shapes.
    """
    if images.ndim != 4 or tuple(labels.shape) != (len(images),) or labels.dtype != torch.int64:
        raise ShapeError(
            f"attack: expected images (n, c, h, w) and labels (n,) of int64; got {tuple(images.shape)} and "
            f"{labels.dtype} {tuple(labels.shape)}."
        )
    if not images.is_floating_point():
        raise DataError(f"attack: images are floats in [0, 1], got {images.dtype}; divide by 255 first.")
    if images.numel() == 0:
        return
    low, high = float(images.min()), float(images.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DataError("attack: images hold values that are not finite.")
    if low < 0 or high > 1:
        guess = (
            "values up to 255 have to be divided by 255"
            if low >= 0 and high > 2
            else "they look normalised: attack in pixels with limbeck.audit.attacks.attack_normalised"
        )
        raise DataError(f"attack: images run from {low:.4g} to {high:.4g}, outside [0, 1]; {guess}.")


def numbered(images: Tensor, index: Tensor | None) -> Tensor:
    """The number of each image in its set, shape (n,), int64: as given, or its place in the batch.

    Raises:
        ShapeError: another number of them.
    """
    if index is None:
        return torch.arange(len(images), device=images.device)
    if tuple(index.shape) != (len(images),) or index.is_floating_point():
        raise ShapeError(f"attack: expected one index for each of {len(images)} images, got {tuple(index.shape)}.")
    return index.to(images.device)
