"""Projected gradient descent: signed steps from a random place in the ball."""

from __future__ import annotations

from torch import Tensor, nn

from limbeck.audit.attacks.steps import ascend, numbered, require_budget, require_images, within
from limbeck.bounds import Fraction, NonNegativeInt, Positive, PositiveInt
from limbeck.seeding import uniforms


def pgd(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    index: Tensor | None = None,
    *,
    eps: Positive = 0.03137254901960784,
    step: Positive = 0.00784313725490196,
    iterations: PositiveInt = 10,
    start: Fraction = 1.0,
    seed: NonNegativeInt = 0,
) -> Tensor:
    """Steps along the sign of the gradient from a uniformly random place, clipped to the ball and to [0, 1].

    Args:
        network: images in [0, 1] to logits.
        images: in [0, 1], shape (n, c, h, w).
        labels: true classes, shape (n,), int64.
        index: number of each image in its set, shape (n,), int64, for the same start in any batch; its place in
            the batch unless given.
        eps: largest change of a pixel, in units of [0, 1], at most 1; 8/255 unless given.
        step: of one iteration; 2/255 unless given, as in the paper.
        iterations: passes forward and back.
        start: size of the random start, as a part of `eps`; 0 begins at the image.
        seed: of the start.

    Returns:
        Shape and kind of `images`, in [0, 1].

    Raises:
        ConfigError: a budget out of range.
        DataError: images outside [0, 1].

    References:
        Projected gradient descent [madry2018towards], section 2.1.
    """
    require_budget("pgd", eps=eps, step=step)
    require_images(images, labels)
    drawn = uniforms(numbered(images, index), seed=seed, epoch=1, draws=images[0].numel() if len(images) else 0)
    noise = (2 * drawn - 1).to(images.dtype).view_as(images)

    def move(place: Tensor, gradient: Tensor) -> Tensor:
        return within(place + step * gradient.sign(), images, eps)

    begin = within(images + start * eps * noise, images, eps)
    return ascend(network, images, labels, start=begin, iterations=iterations, move=move)
