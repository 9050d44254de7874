"""EDM's deterministic sampler: Heun's rule in the noise level, on its own grid, in double precision.

It is what diffusion teachers are sampled with when pairs are made (Karras et al. 2022; Lee et al. 2024, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.flow.solvers import Path
from limbeck.flow.velocity import Flow


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


@torch.no_grad()
def sigma_heun(
    flow: Flow,
    noise: Tensor,
    sigmas: Sequence[float],
    labels: Tensor | None = None,
    *,
    heun: bool = True,
    keep: bool = False,
) -> Path:
    """Follow dx/dsigma = (x - D(x; sigma)) / sigma from the first level to 0.

    Args:
        flow: asked for its denoiser.
        noise: standard normal, (n, c, h, w); the state is in its precision, the network in its own.
        sigmas: falling, the last 0.
        labels: (n,) or None.
        heun: correct every step but the last; False is Euler's rule.
        keep: keep the states.

    Returns:
        The path; 2N - 1 evaluations for N steps, N without correction.
    """
    kind = next(flow.parameters()).dtype

    def slope(x: Tensor, sigma: float) -> Tensor:
        level = torch.full((len(x),), sigma, dtype=torch.float64, device=x.device)
        found = flow.denoise(x.to(kind), level, labels)
        return (x - found.to(x.dtype)) / sigma

    path = Path(noise * sigmas[0])
    path.states = [path.x] if keep else []
    for now, then in zip(sigmas[:-1], sigmas[1:], strict=True):
        d = slope(path.x, now)
        path.evaluations += 1
        end = path.x + (then - now) * d
        if heun and then > 0:
            end = path.x + (then - now) * (d + slope(end, then)) / 2
            path.evaluations += 1
        path.x = end
        if keep:
            path.states.append(end)
    return path


