"""Iterated gradient signs with momentum, whose images fool other networks more often."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limbeck.audit.attacks.steps import ascend, require_budget, within
from limbeck.bounds import NonNegative, Positive, PositiveInt


def mifgsm(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: Positive = 0.03137254901960784,
    step: Positive = 0.00784313725490196,
    iterations: PositiveInt = 5,
    momentum: NonNegative = 1.0,
) -> Tensor:
    """Steps along the sign of all gradients so far, each over its mean absolute value.

    Args:
        network: images in [0, 1] to logits.
        images: in [0, 1], shape (n, c, h, w).
        labels: true classes, shape (n,), int64.
        eps: largest change of a pixel, in units of [0, 1], at most 1; 8/255 unless given.
        step: of one iteration; 2/255 unless given.
        iterations: passes forward and back.
        momentum: how much of the earlier gradients stays, 1 in the paper.

    Returns:
        Shape and kind of `images`, in [0, 1].

    Raises:
        ConfigError: a budget out of range.
        DataError: images outside [0, 1].

    References:
        Momentum iterative FGSM [dong2018boosting], algorithm 1.
    """
    require_budget("mifgsm", eps=eps, step=step)
    gathered = torch.zeros_like(images)

    def move(place: Tensor, gradient: Tensor) -> Tensor:
        nonlocal gathered
        size = gradient.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(torch.finfo(gradient.dtype).tiny)
        gathered = momentum * gathered + gradient / size
        return within(place + step * gathered.sign(), images, eps)

    return ascend(network, images, labels, start=images, iterations=iterations, move=move)
