r"""Matching training trajectories: images such that a few steps on them lead where an expert went.

From an expert's weights :math:`\theta^*_t`, T steps of plain SGD with rate alpha on the synthetic set arrive at
:math:`\theta_T`; the loss is the squared distance to :math:`\theta^*_{t+M}` over the distance that the expert
went.

Three gradients of it are here, as three functions. `matching_gradient` is exact and keeps one step's graph at a
time; `unrolled_gradient` is the same number with all graphs alive, the form of the literature's programs;
`tesla_gradient` holds the inner iterates fixed, which makes it another, cheaper direction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.dataset.dsa import Draw, apply
from limbeck.errors import ShapeError

Logits = Callable[[Tensor, Tensor], Tensor]
"""Weights (parameters,) and images (n, c, h, w) to logits (n, classes)."""


@dataclass(frozen=True)
class Step:
    """One step of the inner loop.

    Attributes:
        rows: of the synthetic set, in this batch.
        drawn: augmentation of the batch.
    """

    rows: Tensor
    drawn: Draw


@dataclass(frozen=True)
class Matched:
    """The loss of a segment and its gradient.

    Attributes:
        loss: scalar.
        images: gradient, the shape of the images.
        targets: gradient with respect to soft targets (n, classes); None for class indices.
        lr: gradient with respect to the inner rate, scalar.
        final: weights after the last step, (parameters,).
    """

    loss: Tensor
    images: Tensor
    targets: Tensor | None
    lr: Tensor
    final: Tensor


def minibatches(images: int, size: int, steps: int, *, generator: torch.Generator) -> list[Tensor]:
    """Rows of each step: chunks of a permutation, taken from its end, which is drawn anew when it is used up.

    Args:
        images: how many there are.
        size: of a batch; the last chunk of a permutation may be smaller, and comes first.
        steps: how many batches.
        generator: on the CPU.
    """
    chunks: list[Tensor] = []
    found = []
    for _ in range(steps):
        if not chunks:
            chunks = list(torch.randperm(images, generator=generator).split(size))
        found.append(chunks.pop())
    return found


def inner_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross entropy with class indices (n,) or with probabilities (n, classes)."""
    return F.cross_entropy(logits, targets)


def matching_gradient(
    logits: Logits,
    start: Tensor,
    target: Tensor,
    images: Tensor,
    targets: Tensor,
    lr: Tensor,
    steps: Sequence[Step],
    *,
    chunk: int | None = None,
) -> Matched:
    r"""The exact gradient, with the memory of one step.

    Reverse mode through the steps needs, at step s, only :math:`\theta_s` and the adjoint a of what follows: with
    h = <a, g_s> the gradient flows to the images by -alpha dh/dX, and a becomes a - alpha dh/dtheta. The iterates
    are kept (one vector a step); their graphs are not.

    Args:
        logits: the network as a function of its weights.
        start: expert's weights at t, (parameters,).
        target: expert's weights at t + M, (parameters,).
        images: synthetic set, (n, c, h, w).
        targets: class indices (n,) or probabilities (n, classes).
        lr: inner rate alpha, scalar.
        steps: batches and augmentations, replayed on the way back.
        chunk: split the second-order pass into so many images at a time, which bounds memory further; right for
            networks that do not mix the images of a batch.

    Raises:
        ShapeError: start and target of different networks, or no movement between them.
    """
    distance = _distance(start, target)
    soft = targets.is_floating_point()
    thetas, theta, rate = [], start.detach(), lr.detach()
    frozen_images, frozen_targets = images.detach(), targets.detach()
    for step in steps:
        thetas.append(theta)
        point = theta.requires_grad_(True)
        batch = apply(frozen_images[step.rows], step.drawn)
        loss = inner_loss(logits(point, batch), frozen_targets[step.rows])
        (gradient,) = torch.autograd.grad(loss, point)
        theta = theta.detach() - rate * gradient
    final = theta
    adjoint = 2 * (final - target) / distance
    images_grad, lr_grad = torch.zeros_like(frozen_images), torch.zeros_like(rate)
    targets_grad = torch.zeros_like(frozen_targets) if soft else None
    for step, theta in zip(reversed(steps), reversed(thetas), strict=True):
        pull = torch.zeros_like(adjoint)
        for part in _parts(step, chunk):
            point = theta.detach().requires_grad_(True)
            pixels = frozen_images[part.rows].requires_grad_(True)
            wanted = frozen_targets[part.rows]
            inputs = [pixels, point]
            if soft:
                inputs.append(wanted.requires_grad_(True))
            share = len(part.rows) / len(step.rows)
            loss = inner_loss(logits(point, apply(pixels, part.drawn)), wanted) * share
            (gradient,) = torch.autograd.grad(loss, point, create_graph=True)
            product = (adjoint * gradient).sum()
            found = torch.autograd.grad(product, inputs)
            images_grad.index_add_(0, part.rows, found[0], alpha=-float(rate))
            if targets_grad is not None:
                targets_grad.index_add_(0, part.rows, found[2], alpha=-float(rate))
            lr_grad -= product.detach()
            pull += found[1]
        adjoint = adjoint - rate * pull
    loss = (final - target).square().sum() / distance
    return Matched(loss.detach(), images_grad, targets_grad, lr_grad, final.detach())


def unrolled_gradient(
    logits: Logits,
    start: Tensor,
    target: Tensor,
    images: Tensor,
    targets: Tensor,
    lr: Tensor,
    steps: Sequence[Step],
) -> Matched:
    """The same gradient by differentiating through the whole loop at once; memory grows with the steps.

    Args:
        logits: the network as a function of its weights.
        start: expert's weights at t, (parameters,).
        target: expert's weights at t + M, (parameters,).
        images: synthetic set, (n, c, h, w).
        targets: class indices (n,) or probabilities (n, classes).
        lr: inner rate alpha, scalar.
        steps: batches and augmentations.

    Raises:
        ShapeError: start and target of different networks, or no movement between them.
    """
    distance = _distance(start, target)
    pixels, rate = images.detach().requires_grad_(True), lr.detach().requires_grad_(True)
    soft = targets.is_floating_point()
    wanted = targets.detach().requires_grad_(soft)
    theta = start.detach().requires_grad_(True)
    for step in steps:
        loss = inner_loss(logits(theta, apply(pixels[step.rows], step.drawn)), wanted[step.rows])
        (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)
        theta = theta - rate * gradient
    loss = (theta - target).square().sum() / distance
    found = torch.autograd.grad(loss, [pixels, rate, *([wanted] if soft else [])])
    return Matched(loss.detach(), found[0], found[2] if soft else None, found[1], theta.detach())


def tesla_gradient(
    logits: Logits,
    start: Tensor,
    target: Tensor,
    images: Tensor,
    targets: Tensor,
    lr: Tensor,
    steps: Sequence[Step],
) -> Matched:
    """TESLA's direction: every inner iterate is held fixed while its gradient is differentiated [cui2023tesla].

    The loss is the one of `matching_gradient`; this is not its gradient. A synthetic image also moves all later
    iterates, and that path is left out. The two agree for small rates and few steps, and differ by tens of per
    cent beyond (one image a class, rate 0.01, 30 steps: cosine 0.93, length 1.6 times).

    Args:
        logits: the network as a function of its weights.
        start: expert's weights at t, (parameters,).
        target: expert's weights at t + M, (parameters,).
        images: synthetic set, (n, c, h, w).
        targets: class indices (n,) or probabilities (n, classes), which receive no gradient.
        lr: inner rate alpha, scalar.
        steps: batches and augmentations.

    Raises:
        ShapeError: start and target of different networks, or no movement between them.
    """
    distance = _distance(start, target)
    frozen_images, frozen_targets, rate = images.detach(), targets.detach(), lr.detach()
    thetas, theta, total = [], start.detach(), torch.zeros_like(start)
    for step in steps:
        thetas.append(theta)
        point = theta.requires_grad_(True)
        loss = inner_loss(logits(point, apply(frozen_images[step.rows], step.drawn)), frozen_targets[step.rows])
        (gradient,) = torch.autograd.grad(loss, point)
        total = total + gradient
        theta = theta.detach() - rate * gradient
    direction = 2 * (rate * (target - start) + rate**2 * total) / distance
    images_grad = torch.zeros_like(frozen_images)
    for step, before in zip(steps, thetas, strict=True):
        point = before.detach().requires_grad_(True)
        pixels = frozen_images[step.rows].requires_grad_(True)
        loss = inner_loss(logits(point, apply(pixels, step.drawn)), frozen_targets[step.rows])
        (gradient,) = torch.autograd.grad(loss, point, create_graph=True)
        (found,) = torch.autograd.grad((direction * gradient).sum(), pixels)
        images_grad.index_add_(0, step.rows, found)
    lr_grad = -2 * ((start - rate * total - target) * total).sum() / distance
    value = (theta - target).square().sum() / distance
    return Matched(value.detach(), images_grad, None, lr_grad.detach(), theta.detach())


def _distance(start: Tensor, target: Tensor) -> Tensor:
    if start.shape != target.shape:
        raise ShapeError(
            f"the segment begins with {start.numel():,} weights and ends with {target.numel():,}: two networks."
        )
    distance = (start - target).square().sum()
    if not float(distance) > 0:
        raise ShapeError("the expert did not move between the two snapshots; matching has nothing to divide by.")
    return distance


def _parts(step: Step, chunk: int | None) -> list[Step]:
    """The step cut into fewer images at a time, each with its own part of the augmentation's numbers."""
    if chunk is None or chunk >= len(step.rows):
        return [step]
    pieces = []
    for at in range(0, len(step.rows), chunk):
        rows = step.rows[at : at + chunk]
        numbers = tuple(n if len(n) == 1 else n[at : at + chunk] for n in step.drawn.numbers)
        pieces.append(Step(rows, Draw(step.drawn.family, numbers)))
    return pieces
