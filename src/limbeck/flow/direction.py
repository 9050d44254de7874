"""Which way a flow's time runs: declared by its parameterisation, and checked before anything is made with it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import ModelError
from limbeck.flow.path import point
from limbeck.flow.velocity import Flow
from limbeck.seeding import normals

CLEARLY = 0.8
"""A flow that has hardly learnt anything points nowhere; backwards is one that is clearly better the other way."""


@torch.no_grad()
def require_direction(flow: Flow, data: Tensor | None = None, *, count: int = 64, seed: int = 0) -> None:
    """Make sure that time runs from data to noise.

    A velocity at t = 1 is the noise minus a mean, so it points along the noise; a sign that was mixed up points
    against it. Time that runs backwards with the right sign shows in the middle: there the velocity of images,
    whose small structure varies less than noise, still points along the noise, and backwards against it. Where
    real data are at hand, the flow's own training error decides between both ways instead.

    Args:
        flow: to be checked.
        data: some real data, (n, c, h, w), or None.
        count: samples of noise.
        seed: of the noise.

    Raises:
        ModelError: it runs backwards.
    """
    device = next(flow.parameters()).device
    kind = next(flow.parameters()).dtype
    training = flow.training
    flow.eval()
    try:
        if data is not None:
            error = _training_errors(flow, data[:500].to(kind), seed)
            wrong = error[1] < CLEARLY * error[0]
            why = f"on real data its velocity is off by {error[0]:.3g} as declared, and by {error[1]:.3g} reversed"
        else:
            z = normals(torch.arange(count), seed=seed, shape=flow.image_shape).to(device, kind)
            times = (flow.begin, 0.5) if flow.image_shape[1] * flow.image_shape[2] > 1 else (flow.begin,)
            cosines = [_agreement(flow, z, t) for t in times]
            wrong = min(cosines) < -(1 - CLEARLY)
            why = f"its velocity points against the noise (cosine {min(cosines):.2f})"
    finally:
        flow.train(training)
    if wrong:
        raise ModelError(
            f"this flow's time runs backwards: 0 is data and 1 is noise here, and {why}. Declare it: "
            "parameterisation: {name: velocity, direction: noise_to_data}; or its output is something else "
            f"than '{flow.parameterisation.name}' with these settings."
        )


def _agreement(flow: Flow, z: Tensor, t: float) -> float:
    """Cosine of velocity and noise at pure noise of the size that x_t has."""
    size = max(t, (t**2 + (1 - t) ** 2 / 4) ** 0.5)
    v = flow(size * z, _full(z, t), _labels(flow, z))
    return float(F.cosine_similarity((v - v.mean(0)).flatten(1), (z - z.mean(0)).flatten(1)).mean())


def _training_errors(flow: Flow, x: Tensor, seed: int) -> tuple[float, float]:
    """Mean squared error of the velocity as declared, and with time and sign reversed."""
    index = torch.arange(len(x), device=x.device)
    z = normals(index, seed=seed, shape=tuple(x.shape[1:])).to(x)
    labels = _labels(flow, x)
    errors = [0.0, 0.0]
    for t in (0.2, 0.4, 0.6, 0.8):
        here, wanted = point(x, z, _full(x, t)), z - x
        errors[0] += float((flow(here, _full(x, t), labels) - wanted).square().mean()) / 4
        errors[1] += float((-flow(here, _full(x, 1 - t), labels) - wanted).square().mean()) / 4
    return errors[0], errors[1]


def _full(like: Tensor, t: float) -> Tensor:
    return torch.full((len(like),), t, dtype=like.dtype, device=like.device)


def _labels(flow: Flow, like: Tensor) -> Tensor | None:
    # A class would have to be the data's own; none is told, which every conditional network takes.
    return torch.full((len(like),), -1, device=like.device) if flow.classes else None
