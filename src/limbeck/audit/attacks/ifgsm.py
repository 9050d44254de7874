"""The iterated fast gradient sign method, with which the paper on what is distilled attacks teachers."""

from __future__ import annotations

from torch import Tensor, nn

from limbeck.audit.attacks.steps import ascend, require_budget, within
from limbeck.bounds import Positive, PositiveInt


def ifgsm(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: Positive = 0.03137254901960784,
    step: Positive = 0.00784313725490196,
    iterations: PositiveInt = 5,
) -> Tensor:
    """Steps along the sign of the gradient, each clipped to the ball and to [0, 1]; nothing is random.

    Args:
        network: images in [0, 1] to logits.
        images: in [0, 1], shape (n, c, h, w).
        labels: true classes, shape (n,), int64.
        eps: largest change of a pixel, in units of [0, 1], at most 1; 8/255 unless given (the paper says none).
        step: of one iteration; 2/255 unless given (the paper says none).
        iterations: passes forward and back; 5 in the paper.

    Returns:
        Shape and kind of `images`, in [0, 1].

    Raises:
        ConfigError: a budget out of range.
        DataError: images outside [0, 1].

    References:
        The basic iterative method [kurakin2017adversarial]; section 4.2 of [ojha2023knowledge].
    """
    require_budget("ifgsm", eps=eps, step=step)

    def move(place: Tensor, gradient: Tensor) -> Tensor:
        return within(place + step * gradient.sign(), images, eps)

    return ascend(network, images, labels, start=images, iterations=iterations, move=move)
