"""An adaptive solver, from torchdiffeq."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from limbeck.bounds import Positive
from limbeck.errors import ConfigError, MissingExtraError
from limbeck.flow.solvers import Path, Solver, Velocity

Rule = Literal["dopri5", "dopri8", "bosh3", "adaptive_heun"]


def adaptive(*, rule: Rule = "dopri5", rtol: Positive = 1e-5, atol: Positive = 1e-5) -> Solver:
    """A Runge-Kutta pair that chooses its own steps; the number of evaluations comes out, it is not chosen.

    Args:
        rule: of torchdiffeq; dopri5 is the RK45 of the literature.
        rtol: relative error a step.
        atol: absolute error a step.
    """
    return Solver("adaptive", partial(_run, rule=rule, rtol=rtol, atol=atol), _no_budget)


def _run(
    velocity: Velocity, x: Tensor, times: Sequence[float], keep: bool, *, rule: str, rtol: float, atol: float
) -> Path:
    try:
        from torchdiffeq import odeint
    except ImportError as error:
        raise MissingExtraError.of("torchdiffeq", "flow", "the adaptive solver") from error
    path = Path(x)
    up = times[-1] > times[0]

    def field(t: Tensor, state: Tensor) -> Tensor:
        path.evaluations += 1
        now = float(t)
        return velocity(state, min(max(now, 0.0), 1.0), now)

    grid = torch.tensor(list(times), dtype=torch.float64, device=x.device)
    states = odeint(field, x, grid if keep else grid[[0, -1]], method=rule, rtol=rtol, atol=atol)
    path.x = states[-1]
    if keep:
        path.states = list(states)
        spent = path.evaluations
        for t, state in zip(times[:-1], states[:-1], strict=True):
            v = velocity(state, t, t)
            path.estimates.append(state + (1 - t) * v if up else state - t * v)
        path.evaluations = spent  # looking at the estimates is not walking
    return path


def _no_budget(evaluations: int) -> int:
    raise ConfigError(
        "the adaptive solver chooses its own number of network evaluations and cannot be held to "
        f"{evaluations}; give it tolerances (rtol, atol), or take euler or heun."
    )
