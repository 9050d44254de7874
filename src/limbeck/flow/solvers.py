"""Ways of walking along a flow, from noise to data or back.

A solver takes `velocity(x, t, to)`: the velocity at time t of a step that ends at time `to`, which only average
velocities look at. Times fall for generation and rise for inversion; every rule keeps what it was given and
returns a new state.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from limbeck.bounds import NonNegativeInt
from limbeck.errors import ConfigError
from limbeck.seeding import normals

Velocity = Callable[[Tensor, float, float], Tensor]
"""(x, t, to) to the velocity at x, time t, for a step to time `to`."""


@dataclass
class Path:
    """Where a solver went.

    Attributes:
        x: the end, (n, c, h, w).
        states: the beginning and the state after each step, if kept.
        estimates: for each step what its last evaluation took the far end to be: data, or noise when it walked to
            the noise.
        evaluations: of the velocity, in all.
    """

    x: Tensor
    states: list[Tensor] = field(default_factory=list)
    estimates: list[Tensor] = field(default_factory=list)
    evaluations: int = 0


Run = Callable[[Velocity, Tensor, Sequence[float], bool], Path]


@dataclass(frozen=True)
class Solver:
    """A rule with what it costs.

    Attributes:
        name: for messages.
        run: (velocity, x, times, keep states) to a path.
        steps: how many steps a number of evaluations pays for; refuses a number that cannot be spent.
        straight_only: it leads to the right end on straight flows alone.
        one_way: it only generates.
        grid: its own times for a number of steps, or None for the uniform ones.
    """

    name: str
    run: Run
    steps: Callable[[int], int]
    straight_only: bool = False
    one_way: bool = False
    grid: Callable[[int], tuple[float, ...]] | None = None


def euler() -> Solver:
    """First order: x + (to - t) v. One step of it is the flow's data prediction."""
    return Solver("euler", _euler, partial(one_each, "euler"))


def heun() -> Solver:
    """Second order: Euler, then the mean of both ends' velocities; the last step is Euler's.

    N steps take 2N - 1 evaluations.
    """
    return Solver("heun", _heun, partial(two_each, "heun"))


def anchored() -> Solver:
    """The noise-anchored rule: the next state lies between the predicted data and the first noise.

    It helps straight flows with 3 to 8 steps; with 1 and 2 it is Euler's. It is no consistent integrator: on a
    curved flow its error grows with the number of steps.

    References:
        Lee et al. 2024 [lee2024improving], appendix D.
    """
    return Solver("anchored", _anchored, partial(one_each, "anchored"), straight_only=True, one_way=True)


def anchored_heun() -> Solver:
    """The noise-anchored rule with Heun's mean velocity."""
    return Solver(
        "anchored_heun", _anchored_heun, partial(two_each, "anchored_heun"), straight_only=True, one_way=True
    )


def renoised(*, seed: NonNegativeInt = 0) -> Solver:
    """Jump to the predicted data, add new noise, jump again: how consistency models take several steps.

    Args:
        seed: of the noise.
    """
    return Solver("renoised", partial(_renoised, seed=seed), partial(one_each, "renoised"), one_way=True)


def _euler(velocity: Velocity, x: Tensor, times: Sequence[float], keep: bool) -> Path:
    path, up = _start(x, keep), times[-1] > times[0]
    for t, to in itertools.pairwise(times):
        v = velocity(path.x, t, to)
        _step(path, path.x + (to - t) * v, path.x, v, t, up, keep)
        path.evaluations += 1
    return path


def _heun(velocity: Velocity, x: Tensor, times: Sequence[float], keep: bool) -> Path:
    path, up = _start(x, keep), times[-1] > times[0]
    for number, (t, to) in enumerate(itertools.pairwise(times)):
        v = last = velocity(path.x, t, to)
        at, time = path.x, t
        path.evaluations += 1
        if number < len(times) - 2:
            at, time = path.x + (to - t) * v, to
            last = velocity(at, to, to)
            v = (v + last) / 2
            path.evaluations += 1
        _step(path, path.x + (to - t) * v, at, last, time, up, keep)
    return path


def _anchored(velocity: Velocity, x: Tensor, times: Sequence[float], keep: bool) -> Path:
    path = _start(x, keep)
    for t, to in itertools.pairwise(times):
        v = velocity(path.x, t, to)
        path.evaluations += 1
        _step(path, (1 - to) * (path.x - t * v) + to * x, path.x, v, t, False, keep)
    return path


def _anchored_heun(velocity: Velocity, x: Tensor, times: Sequence[float], keep: bool) -> Path:
    path = _start(x, keep)
    for number, (t, to) in enumerate(itertools.pairwise(times)):
        v = last = velocity(path.x, t, to)
        at, time = path.x, t
        path.evaluations += 1
        if number < len(times) - 2:
            at, time = (1 - to) * (path.x - t * v) + to * x, to
            last = velocity(at, to, to)
            v = (v + last) / 2
            path.evaluations += 1
        _step(path, (1 - to) * (path.x - t * v) + to * x, at, last, time, False, keep)
    return path


def _renoised(velocity: Velocity, x: Tensor, times: Sequence[float], keep: bool, *, seed: int) -> Path:
    path = _start(x, keep)
    for number, (t, to) in enumerate(itertools.pairwise(times)):
        v = velocity(path.x, t, to)
        path.evaluations += 1
        fresh = x
        if to > 0:
            # The noise of a sample depends on its number and the step alone, whatever batch it stands in.
            rows = torch.arange(x.shape[0], device=x.device) + getattr(velocity, "first", 0)
            places = rows + ((number + 1) << 32)
            fresh = normals(places, seed=seed, shape=tuple(x.shape[1:])).to(x.dtype)
        _step(path, (1 - to) * (path.x - t * v) + to * fresh, path.x, v, t, False, keep)
    return path


def _start(x: Tensor, keep: bool) -> Path:
    return Path(x, [x] if keep else [])


def _step(path: Path, x: Tensor, before: Tensor, v: Tensor, t: float, up: bool, keep: bool) -> None:
    path.x = x
    if keep:
        path.states.append(x)
        path.estimates.append(before + (1 - t) * v if up else before - t * v)


def one_each(name: str, evaluations: int) -> int:
    """Steps of a rule with an evaluation a step."""
    if evaluations < 1:
        raise ConfigError(f"{name} needs at least 1 network evaluation; got {evaluations}.")
    return evaluations


def two_each(name: str, evaluations: int) -> int:
    """Steps of a rule with two evaluations a step and one in the last."""
    if evaluations < 1 or evaluations % 2 == 0:
        low = max(1, evaluations - 1)
        raise ConfigError(
            f"{name} takes two network evaluations a step and one in the last: an odd number. {evaluations} "
            "cannot be "
            f"spent; give {low} or {evaluations + 1}."
        )
    return (evaluations + 1) // 2
