"""Projected gradient descent in a ball of Euclidean distance."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from limbeck.audit.attacks.steps import ascend, numbered, require_budget, require_images
from limbeck.bounds import Fraction, NonNegativeInt, Positive, PositiveInt
from limbeck.seeding import normals, uniforms


def pgd_l2(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    index: Tensor | None = None,
    *,
    eps: Positive = 0.5,
    step: Positive = 0.1,
    iterations: PositiveInt = 10,
    start: Fraction = 1.0,
    seed: NonNegativeInt = 0,
) -> Tensor:
    """Steps of one length along the gradient of each image, back into the ball, then clipped to [0, 1].

    Args:
        network: images in [0, 1] to logits.
        images: in [0, 1], shape (n, c, h, w).
        labels: true classes, shape (n,), int64.
        index: number of each image in its set, shape (n,), int64, for the same start in any batch; its place in
            the batch unless given.
        eps: largest Euclidean distance from the image, pixels in units of [0, 1]; 0.5 is usual for 32 x 32 colour
            images.
        step: length of one iteration.
        iterations: passes forward and back.
        start: radius of the ball in which the random start lies, as a part of `eps`; 0 begins at the image.
        seed: of the start.

    Returns:
        Shape and kind of `images`, in [0, 1].

    Raises:
        ConfigError: a budget out of range.
        DataError: images outside [0, 1].

    References:
        Projected gradient descent [madry2018towards], section 2.1.
    """
    require_images(images, labels)
    numbers = numbered(images, index)
    shape = tuple(images.shape[1:])
    require_budget("pgd_l2", eps=eps, step=step, largest=math.sqrt(max(math.prod(shape), 1)))
    direction = _unit(normals(numbers, seed=seed, shape=shape).to(images.dtype))
    # Volume grows with the power of the dimension, so this radius makes the start uniform in the ball.
    radius = uniforms(numbers, seed=seed, epoch=1, draws=1).to(images.dtype) ** (1 / max(math.prod(shape), 1))
    begin = (images + start * eps * radius[:, :, None, None] * direction).clamp(0, 1)

    def move(place: Tensor, gradient: Tensor) -> Tensor:
        away = place + step * _unit(gradient) - images
        factor = (eps / _lengths(away).clamp_min(_tiny(away))).clamp_max(1)
        return (images + factor * away).clamp(0, 1)

    return ascend(network, images, labels, start=begin, iterations=iterations, move=move)


def _lengths(values: Tensor) -> Tensor:
    return values.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()


def _tiny(values: Tensor) -> float:
    return torch.finfo(values.dtype).tiny


def _unit(values: Tensor) -> Tensor:
    """Each image's values over their length; zero stays zero."""
    # Scaled by the largest first: squares of tiny gradients would vanish.
    scaled = values / values.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(_tiny(values))
    return scaled / _lengths(scaled).clamp_min(_tiny(values))
