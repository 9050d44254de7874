"""Back to the noise, and what can be done there: interpolation and translation between classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.errors import ConfigError, ModelError, ShapeError
from limbeck.flow.sampling import Samples, sample, solver_of, walk
from limbeck.flow.velocity import Flow
from limbeck.seeding import normals
from limbeck.specs import Spec

FIRST = 0.001
"""Where inversion begins: real data has no noise, and the flow was trained on some."""


def invert(
    flow: Flow,
    x: Tensor,
    labels: Tensor | None = None,
    *,
    evaluations: int = 8,
    solver: Spec | str = "euler",
    blur: float = FIRST,
    seed: int = 0,
    index: Tensor | None = None,
    batch_size: int = 500,
    keep: bool = False,
) -> Samples:
    """Data to noise: the flow followed upwards from t = 0.001 (Lee et al. 2024, section 5.4).

    Args:
        flow: of instantaneous velocities.
        x: data, (n, c, h, w).
        labels: (n,) int64, or None.
        evaluations: for each image; exactly so many are spent.
        solver: euler, heun or adaptive.
        blur: time to begin at; so much noise is mixed in. 0 gives the exact inverse of an exact flow.
        seed: of that noise.
        index: (n,) int64, numbers of the images, by which each gets its noise; their rows unless given.
        batch_size: images at once.
        keep: keep states and estimates.

    Returns:
        Samples whose `x` is the noise that generates the data. Where its mean square is far from 1, the data lies
        off what the flow generates.

    Raises:
        ConfigError: a solver that only generates, or a budget that it cannot spend.
        ModelError: a model that knows no velocities to follow.
        ShapeError: data of another shape than the flow's.
    """
    if flow.predicts != "velocity":
        raise ModelError(f"inversion follows velocities; this model predicts {flow.predicts}.")
    if tuple(x.shape[1:]) != tuple(flow.image_shape):
        raise ShapeError(f"this flow has images of {tuple(flow.image_shape)}; got {tuple(x.shape[1:])}.")
    if not 0 <= blur < 1:
        raise ConfigError(f"blur is a time from 0 to 1; got {blur}.")
    rule = solver_of(solver)
    end = flow.begin
    if rule.name == "adaptive":
        grid: tuple[float, ...] = (blur, end)
    else:
        steps = rule.steps(evaluations)
        grid = (blur, *(end * i / steps for i in range(1, steps)), 1.0 if end > 1 - 1e-4 else end)
    start = x
    if blur:
        numbers = torch.arange(len(x)) if index is None else index
        noise = normals(numbers.to(x.device), seed=seed, shape=tuple(x.shape[1:]))
        start = (1 - blur) * x + blur * noise.to(x.dtype)
    path = walk(flow, start, labels, grid, solver=rule, batch_size=batch_size, keep=keep)
    # A range that ends before 1 leaves a state that still has some data in it, scaled down.
    return Samples(path.x / grid[-1], path.evaluations, grid, path.states, path.estimates)


def slerp(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Spherical interpolation between two noises.

    The angle is that of the unit vectors, the weights are put on the vectors as they are.

    Args:
        first: (n, ...).
        second: the same shape.
        weight: (k,), in [0, 1].

    Returns:
        (k, n, ...).
    """
    a, b = first.flatten(1), second.flatten(1)
    cosine = (torch.nn.functional.normalize(a, dim=1) * torch.nn.functional.normalize(b, dim=1)).sum(1)
    angle = torch.acos(cosine.clamp(-1, 1))[None, :, None]
    part = weight.to(first.dtype)[:, None, None]
    # Parallel vectors have no arc between them; the chord is the limit.
    flat = angle.sin() < 1e-6
    sine = torch.where(flat, torch.ones_like(angle), angle.sin())
    low = torch.where(flat, 1 - part, ((1 - part) * angle).sin() / sine)
    high = torch.where(flat, part, (part * angle).sin() / sine)
    return (low * a + high * b).view(len(weight), *first.shape)


def interpolate(
    flow: Flow,
    first: Tensor,
    second: Tensor,
    labels: Tensor | None = None,
    *,
    points: int = 10,
    evaluations: int = 8,
    generate: int = 2,
    times: Sequence[float] | None = None,
) -> Tensor:
    """Between pairs of images, on the sphere of their noises (Lee et al. 2024, section 5.4).

    Args:
        flow: of instantaneous velocities.
        first: images, (n, c, h, w).
        second: the same shape.
        labels: the class that both are of, (n,), or None.
        points: images on the way, both ends included.
        evaluations: of each inversion.
        generate: evaluations of each generation.
        times: of the generation.

    Returns:
        (points, n, c, h, w).
    """
    start, end = (invert(flow, x, labels, evaluations=evaluations).x for x in (first, second))
    between = slerp(start, end, torch.linspace(0, 1, points, device=first.device))
    told = labels.repeat(points) if labels is not None else None
    made = sample(flow, between.flatten(0, 1), told, evaluations=generate if times is None else None, times=times)
    return made.x.view_as(between)


def translate(
    flow: Flow,
    x: Tensor,
    source: Tensor,
    target: Tensor,
    *,
    evaluations: int = 4,
    generate: int = 2,
    times: Sequence[float] | None = None,
) -> Samples:
    """Images of one class as images of another: inverted as the one, generated as the other (section 5.4).

    Args:
        flow: with classes.
        x: images, (n, c, h, w).
        source: their classes, (n,).
        target: the classes to become, (n,).
        evaluations: of the inversion; 4 in the paper.
        generate: evaluations of the generation; 2 in the paper, 6 in all.
        times: of the generation.

    Returns:
        Samples; `evaluations` counts both ways.

    Raises:
        ModelError: a flow without classes.
    """
    if not flow.classes:
        raise ModelError("translation goes from class to class; this flow knows none.")
    noise = invert(flow, x, source, evaluations=evaluations)
    made = sample(flow, noise.x, target, evaluations=generate if times is None else None, times=times)
    made.evaluations += noise.evaluations
    return made
