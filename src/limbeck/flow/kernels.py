"""Times and scales of other diffusion processes at the same ratio of signal to noise.

Two Gaussian kernels N(s x, sigma^2) and N(s' x, sigma'^2) with s / sigma = s' / sigma' have the same posterior
mean at inputs that differ by the factor s' / s (Lee et al. 2024, proposition 1). The flow's kernel is s = 1 - t,
sigma = t. All functions are exact in closed form and take and give tensors of any shape.
"""

from __future__ import annotations

import torch
from torch import Tensor

BETA_MIN, BETA_RANGE = 0.1, 19.9
"""Of the variance-preserving process of Song et al. (2021)."""


def sigma_of(t: Tensor) -> Tensor:
    """Noise level of the variance-exploding process x + sigma n, t / (1 - t).

    Example:
        >>> sigma_of(torch.tensor([0.5])).item()
        1.0
    """
    return t / (1 - t)


def time_of_sigma(sigma: Tensor) -> Tensor:
    """The flow's time at a noise level, sigma / (1 + sigma)."""
    return sigma / (1 + sigma)


def ve_scale(t: Tensor) -> Tensor:
    """What the flow's x_t is multiplied by to be the input of the variance-exploding process, 1 / (1 - t)."""
    return 1 / (1 - t)


def vp_time(t: Tensor, *, beta_min: float = BETA_MIN, beta_range: float = BETA_RANGE) -> Tensor:
    """Time of the variance-preserving process with alpha(T) = exp(-beta_range T^2 / 4 - beta_min T / 2)."""
    log_alpha = torch.log((1 - t) * torch.rsqrt((1 - t).square() + t.square()))
    return (-beta_min / 2 + (beta_min**2 / 4 - beta_range * log_alpha).sqrt()) / (beta_range / 2)


def vp_scale(t: Tensor) -> Tensor:
    """What the flow's x_t is multiplied by to be the input of the variance-preserving process."""
    return torch.rsqrt((1 - t).square() + t.square())


def vp_sigma(time: Tensor, *, beta_min: float = BETA_MIN, beta_range: float = BETA_RANGE) -> Tensor:
    """Noise level (of x + sigma n) of the variance-preserving process at its time; inverse of `vp_time`."""
    return torch.expm1(beta_range * time.square() / 2 + beta_min * time).sqrt()
