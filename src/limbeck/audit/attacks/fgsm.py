"""The fast gradient sign method: one step of full length."""

from __future__ import annotations

from torch import Tensor, nn

from limbeck.audit.attacks.steps import ascend, require_budget, within
from limbeck.bounds import Positive


def fgsm(network: nn.Module, images: Tensor, labels: Tensor, *, eps: Positive = 0.03137254901960784) -> Tensor:
    """Every pixel by `eps` in the direction that raises the loss; pixels without gradient stay.

    Args:
        network: images in [0, 1] to logits.
        images: in [0, 1], shape (n, c, h, w).
        labels: true classes, shape (n,), int64.
        eps: largest change of a pixel, in units of [0, 1], at most 1; 8/255 unless given.

    Returns:
        Shape and kind of `images`, in [0, 1].

    Raises:
        ConfigError: a budget out of range.
        DataError: images outside [0, 1].

    References:
        Fast gradient sign [goodfellow2015explaining], section 4.
    """
    require_budget("fgsm", eps=eps, step=eps)

    def move(place: Tensor, gradient: Tensor) -> Tensor:
        return within(place + eps * gradient.sign(), images, eps)

    return ascend(network, images, labels, start=images, iterations=1, move=move)
