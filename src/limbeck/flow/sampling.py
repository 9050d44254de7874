"""From noise to data with a stated number of network evaluations."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from limbeck.errors import ConfigError, InputError, ShapeError
from limbeck.flow._registry import SOLVERS
from limbeck.flow.path import END, data_of, per_image
from limbeck.flow.solvers import Path, Solver
from limbeck.flow.velocity import Flow, Guided
from limbeck.specs import Spec

_LOGGER = logging.getLogger("limbeck")
_STRAIGHT_STEPS = 2
"""Up to so many steps the noise-anchored rule is Euler's."""


@dataclass
class Samples:
    """What a sampler made.

    Attributes:
        x: (n, c, h, w), not clipped; images lie in [-1, 1] but for small excesses.
        evaluations: of the network for each sample; guidance counts twice.
        times: where the steps began and ended.
        states: the beginning and the state after each step, if kept.
        estimates: what each step took the far end to be, by its last evaluation, if kept: data in generation,
            noise in inversion.
    """

    x: Tensor
    evaluations: int
    times: tuple[float, ...]
    states: list[Tensor] = field(default_factory=list)
    estimates: list[Tensor] = field(default_factory=list)


def sample(
    flow: Flow,
    noise: Tensor,
    labels: Tensor | None = None,
    *,
    evaluations: int | None = None,
    solver: Spec | str | None = None,
    times: Sequence[float] | None = None,
    guidance: float | None = None,
    batch_size: int = 500,
    keep: bool = False,
    trust: bool = False,
    first: int = 0,
) -> Samples:
    """Generate data from noise.

    Without `evaluations` and `times` it takes one step.

    Args:
        flow: in eval mode for the length of the call.
        noise: standard normal, (n, c, h, w).
        labels: (n,) int64, or None.
        evaluations: of the flow for each sample; exactly so many are spent. 1 unless given, or unless `times` are.
        solver: by name with settings; what the model is made for unless given (euler, or renoised for consistency
            models).
        times: where the steps begin, falling, the first being the noise; a uniform grid unless given. The two
            steps of Lee et al. are at (1, 0.8).
        guidance: scale of classifier-free guidance; every evaluation then costs two.
        batch_size: samples at once.
        keep: keep states and estimates.
        trust: take the noise-anchored rule on a flow that is not known to be straight.
        first: number of the first sample among those of several calls, by which a rule that adds noise draws it.

    Raises:
        ConfigError: an evaluation budget that the solver cannot spend, times that do not fall, the noise-anchored
            rule on a curved flow, or a rule of instantaneous velocities for average ones.
        ShapeError: noise of another shape than the flow's.
        ModelError: labels that the flow does not have.

    Example:
        >>> from limbeck.models.velocity import build_velocity_network
        >>> flow = Flow(build_velocity_network("mlp", image_shape=(2, 1, 1)), image_shape=(2, 1, 1))
        >>> sample(flow, torch.randn(4, 2, 1, 1), evaluations=3).evaluations
        3
    """
    _require_shape(flow, noise)
    rule = solver_of(solver if solver is not None else default_solver(flow))
    if rule.name == "adaptive" and evaluations is None and times is None:
        grid: tuple[float, ...] = (flow.begin, 0.0)
    else:
        grid = generation_grid(rule, evaluations, times, begin=flow.begin)
    _guard(flow, rule, len(grid) - 1, trust=trust)
    field_ = Guided(flow, guidance) if guidance is not None else flow
    path = _in_batches(
        flow,
        field_,
        rule,
        noise * grid[0],  # x_t at the first time, without the data's share of it
        labels,
        grid,
        batch_size=batch_size,
        keep=keep,
        first=first,
    )
    if rule.straight_only and len(grid) - 1 > _STRAIGHT_STEPS and path.estimates:
        _warn_if_curved(path)
    return Samples(
        path.x, path.evaluations * (2 if guidance is not None else 1), grid, path.states, path.estimates
    )


def default_solver(flow: Flow) -> str:
    """The rule that a model is made for."""
    return "renoised" if flow.predicts == "consistency" else "euler"


def solver_of(solver: Spec | str) -> Solver:
    """A solver by name with settings."""
    spec = Spec(name=solver) if isinstance(solver, str) else solver
    found: Solver = SOLVERS[spec.name](**spec.settings)
    return found


def generation_grid(
    solver: Solver, evaluations: int | None, times: Sequence[float] | None, *, begin: float = 1 - END
) -> tuple[float, ...]:
    """Falling times from noise to 0: 1 - 1e-5, 1 - 1/N, ..., 0, or those given.

    Args:
        solver: says how many steps an evaluation budget pays for.
        evaluations: the budget.
        times: where steps begin; the first is replaced by `begin` if it is later.
        begin: the latest time that the flow has seen.

    Raises:
        ConfigError: a budget that cannot be spent, times that do not fall, or a budget that differs from the
            times'.
    """
    if times is None:
        steps = solver.steps(evaluations if evaluations is not None else 1)
        if solver.grid is not None:
            return solver.grid(steps)
        if begin >= 1 - 2 * END:
            return (begin, *(1 - i / steps for i in range(1, steps)), 0.0)
        return (*tuple(begin * (1 - i / steps) for i in range(steps)), 0.0)
    given = [float(t) for t in times]
    if given and given[-1] == 0:
        given = given[:-1]
    if not given or any(not 0 < t <= 1 for t in given) or any(a <= b for a, b in itertools.pairwise(given)):
        raise ConfigError(
            f"times fall from noise (1) to data (0), which need not be written; got {list(times)}. "
            "The paper's two steps are [1, 0.8]."
        )
    if evaluations is not None and solver.steps(evaluations) != len(given):
        raise ConfigError(
            f"times have {len(given)} steps, {evaluations} evaluations of {solver.name} pay for "
            f"{solver.steps(evaluations)}; give one of the two."
        )
    return (min(given[0], begin), *(min(t, begin) for t in given[1:]), 0.0)


def walk(
    flow: Flow,
    x: Tensor,
    labels: Tensor | None,
    grid: Sequence[float],
    *,
    solver: Solver,
    guidance: float | None = None,
    batch_size: int = 500,
    keep: bool = False,
) -> Path:
    """Follow a flow over given times, from a given state, in either direction.

    Raises:
        ConfigError: a rule that only generates, walking to the noise, or times outside [0, 1].
    """
    if any(not 0 <= t <= 1 for t in grid):
        raise ConfigError(f"times run from 0 (data) to 1 (noise); got {list(grid)}.")
    if solver.one_way and grid[-1] > grid[0]:
        raise ConfigError(f"{solver.name} only generates; walk from data to noise with euler or heun.")
    field_ = Guided(flow, guidance) if guidance is not None else flow
    return _in_batches(flow, field_, solver, x, labels, grid, batch_size=batch_size, keep=keep)


@torch.no_grad()
def _in_batches(
    flow: Flow,
    velocity: torch.nn.Module,
    solver: Solver,
    x: Tensor,
    labels: Tensor | None,
    grid: Sequence[float],
    *,
    batch_size: int,
    keep: bool,
    first: int = 0,
) -> Path:
    training = flow.training
    flow.eval()
    try:
        parts = []
        for begin in range(0, len(x), batch_size):
            rows = slice(begin, begin + batch_size)
            told = labels[rows] if labels is not None else None
            parts.append(solver.run(Field(flow, velocity, told, first=first + begin), x[rows], grid, keep))
    finally:
        flow.train(training)
    if len(parts) == 1:
        return parts[0]
    return Path(
        torch.cat([p.x for p in parts]),
        [torch.cat(found) for found in zip(*(p.states for p in parts), strict=True)],
        [torch.cat(found) for found in zip(*(p.estimates for p in parts), strict=True)],
        # An adaptive rule spends more on some batches than on others; the dearest is what is said.
        max(p.evaluations for p in parts),
    )


class Field:
    """A flow as solvers see it: in the precision of their state, with the labels of a batch.

    Args:
        flow: gives the denoiser.
        velocity: the flow itself, or guided.
        labels: (n,) or None.
        first: number of the batch's first sample among all.
    """

    def __init__(
        self, flow: Flow, velocity: torch.nn.Module, labels: Tensor | None = None, *, first: int = 0
    ) -> None:
        self.first = first
        self._flow, self._given, self._labels = flow, velocity, labels
        self._averages = flow.predicts == "average velocity"
        self._kind = next(flow.parameters()).dtype

    def __call__(self, x: Tensor, t: float, to: float) -> Tensor:
        """Velocity at time t for a step to another time."""
        time = torch.full((x.shape[0],), t, dtype=self._kind, device=x.device)
        length = (torch.full_like(time, t - to),) if self._averages else ()
        found: Tensor = self._given(x.to(self._kind), time, self._labels, *length)
        return found.to(x.dtype)

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x; sigma)."""
        if self._given is self._flow:
            return self._flow.denoise(x.to(self._kind), sigma, self._labels).to(x.dtype)
        t = sigma / (1 + sigma)
        x_t = x * per_image(1 - t, x)
        v = self._given(x_t.to(self._kind), t.to(self._kind), self._labels).to(x.dtype)
        return data_of(x_t, v, t)


def _require_shape(flow: Flow, x: Tensor) -> None:
    if tuple(x.shape[1:]) != tuple(flow.image_shape):
        raise ShapeError(f"this flow has images of {tuple(flow.image_shape)}; got noise of {tuple(x.shape[1:])}.")
    if not len(x):
        raise InputError("there is no noise to start from: the batch is empty.")


def _guard(flow: Flow, solver: Solver, steps: int, *, trust: bool) -> None:
    """Refuse rules where they lead elsewhere: the noise-anchored one diverges on curved flows."""
    if flow.predicts == "average velocity" and solver.name not in ("euler", "adaptive"):
        raise ConfigError(
            f"{solver.name} takes velocities at a time, and this model predicts the average over an interval; "
            "take euler, whose step is just that."
        )
    if not solver.straight_only or steps <= _STRAIGHT_STEPS or trust or (flow.rounds or 0) >= 1:
        return
    if flow.rounds == 0:
        raise ConfigError(
            f"{solver.name} is only right on nearly straight flows, and this one was not reflowed: its "
            "error would "
            f"grow with the number of steps ({steps}). Take euler or heun, or reflow it first (trust=True "
            "insists)."
        )
    _LOGGER.warning(
        "%s is only right on nearly straight flows, and nobody said whether this one was reflowed; compare "
        "with euler.",
        solver.name,
    )


def _warn_if_curved(path: Path) -> None:
    first, last = path.estimates[0], path.estimates[-1]
    drift = float((first - last).square().mean().sqrt() / last.square().mean().sqrt().clamp_min(1e-12))
    if drift > 0.5:
        _LOGGER.warning(
            "the noise-anchored rule was used on a curved flow: its data prediction moved by %.0f %% on the way. "
            "Compare with euler or heun.",
            100 * drift,
        )
