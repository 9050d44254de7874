"""EDM's deterministic sampler: Heun's rule in the noise level, on its own grid, in double precision.

It is what diffusion teachers are sampled with when pairs are made (Karras et al. 2022 [karras2022elucidating]; Lee
et al. 2024, appendix E).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from limbeck.bounds import Positive
from limbeck.errors import ConfigError
from limbeck.flow.solvers import Path, Solver, one_each, two_each


def sigma_grid(
    steps: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> tuple[float, ...]:
    """Noise levels that fall to 0: even steps of the rho-th root.

    Args:
        steps: how many; steps + 1 levels come back.
        sigma_min: the last level above 0.
        sigma_max: the first.
        rho: 7 in EDM.

    Example:
        >>> [round(s, 3) for s in sigma_grid(2)]
        [80.0, 0.002, 0.0]
    """
    if steps < 1:
        raise ConfigError(f"at least one step is needed; got {steps}.")
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return (*((high + i / max(steps - 1, 1) * (low - high)) ** rho for i in range(steps)), 0.0)


def sigma_heun(
    *, sigma_min: Positive = 0.002, sigma_max: Positive = 80.0, rho: Positive = 7.0, heun: bool = True
) -> Solver:
    """EDM's own sampler, for diffusion teachers: 2N - 1 evaluations for N levels.

    Args:
        sigma_min: the last level above 0.
        sigma_max: the first; no flow is asked beyond the last time that it has seen.
        rho: of the grid.
        heun: correct every step but the last; false is Euler's rule, with an evaluation a step.
    """

    def grid(steps: int) -> tuple[float, ...]:
        sigmas = sigma_grid(steps, sigma_min=sigma_min, sigma_max=sigma_max, rho=rho)
        return tuple(sigma / (1 + sigma) for sigma in sigmas)

    price = two_each if heun else one_each
    name = "sigma_heun"
    return Solver(name, partial(_walk, heun=heun), partial(price, name), one_way=True, grid=grid)


def _walk(velocity: Any, x: Tensor, times: Sequence[float], keep: bool, *, heun: bool) -> Path:
    sigmas = [t / (1 - t) for t in times]
    return follow(velocity.denoise, x / (1 - times[0]), sigmas, heun=heun, keep=keep)


def follow(
    denoise: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigmas: Sequence[float], *, heun: bool, keep: bool
) -> Path:
    """Follow dx/dsigma = (x - D(x; sigma)) / sigma from the first level to 0.

    Args:
        denoise: (x, sigma) to the data, sigma (n,) in double precision.
        x: noise times the first level, (n, c, h, w); the state keeps its precision.
        sigmas: falling, the last 0.
        heun: correct every step but the last.
        keep: keep the states.
    """

    def slope(state: Tensor, sigma: float) -> Tensor:
        level = torch.full((state.shape[0],), sigma, dtype=torch.float64, device=state.device)
        return (state - denoise(state, level)) / sigma

    path = Path(x, [x] if keep else [])
    for now, then in itertools.pairwise(sigmas):
        d = slope(path.x, now)
        path.evaluations += 1
        if keep:
            path.estimates.append(path.x - now * d)
        end = path.x + (then - now) * d
        if heun and then > 0:
            end = path.x + (then - now) * (d + slope(end, then)) / 2
            path.evaluations += 1
        path.x = end
        if keep:
            path.states.append(end)
    return path
