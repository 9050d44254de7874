"""Noise of an attack's size that knows no network: what fools by chance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limbeck.audit.attacks.steps import numbered, require_budget, require_images, within
from limbeck.bounds import NonNegativeInt, Positive
from limbeck.seeding import uniforms


def sign_noise(
    network: nn.Module | None,
    images: Tensor,
    labels: Tensor,
    index: Tensor | None = None,
    *,
    eps: Positive = 0.03137254901960784,
    seed: NonNegativeInt = 0,
) -> Tensor:
    """Every pixel up or down by `eps`, by chance, and clipped to [0, 1].

    Args:
        network: not looked at; any, or None.
        images: in [0, 1], shape (n, c, h, w).
        labels: shape (n,), int64; not looked at.
        index: number of each image in its set, shape (n,), int64; its place in the batch unless given.
        eps: change of every pixel, in units of [0, 1], at most 1; 8/255 unless given.
        seed: of the noise.

    Returns:
        Shape and kind of `images`, in [0, 1].

    Raises:
        ConfigError: a budget out of range.
        DataError: images outside [0, 1].
    """
    require_budget("sign_noise", eps=eps, step=eps)
    require_images(images, labels)
    draws = images[0].numel() if len(images) else 0
    drawn = uniforms(numbered(images, index), seed=seed, epoch=1, draws=draws).view_as(images)
    return within(images + torch.where(drawn < 0.5, -eps, eps).to(images.dtype), images, eps)
