"""Distributions of training times as inverse distribution functions: uniform numbers in, times out.

Every function is `name(quantile, *, settings) -> t` with quantiles and times of shape (n,). Times come back in
[1e-5, 1 - 1e-5].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limbeck.bounds import Fraction, Positive, PositiveInt
from limbeck.flow.path import END

_FLAT = 1e-3
"""Below this, the closed forms in `a` lose their digits, and the density is uniform to single precision."""


def uniform(quantile: Tensor) -> Tensor:
    """Every time equally often: right for flows of independent pairs.

    Args:
        quantile: in [0, 1], (n,).
    """
    return _inside(quantile)


def u_shaped(quantile: Tensor, *, a: float = 4.0) -> Tensor:
    """Both ends more often: p(t) = a cosh(a (t - 1/2)) / (2 sinh(a/2)).

    Args:
        quantile: in [0, 1], (n,).
        a: how much more often; 0 is uniform. 4 in the paper, whose printed density lacks the mirror image that its
            figure and code have.

    References:
        Lee et al. 2024 [lee2024improving], section 4.1.

    Example:
        >>> u_shaped(torch.tensor([0.5])).item()
        0.5
    """
    if abs(a) < _FLAT:
        return _inside(quantile)
    place = quantile.double()
    return _inside((0.5 + torch.asinh((2 * place - 1) * math.sinh(a / 2)) / a).to(quantile.dtype))


def logit_normal(quantile: Tensor, *, mean: float = 0.0, std: Positive = 1.0) -> Tensor:
    """The middle more often: the logit of t is normal. For flows of independent pairs.

    Args:
        quantile: in [0, 1], (n,).
        mean: of the logit; negative ones lean to the data.
        std: of the logit.

    References:
        Esser et al. 2024 [esser2024scaling].
    """
    place = quantile.double().clamp(1e-9, 1 - 1e-9)
    return _inside(torch.sigmoid(mean + std * torch.special.ndtri(place)).to(quantile.dtype))


def exponential(quantile: Tensor, *, base: Positive = 10.0) -> Tensor:
    """Density that grows like base^t towards the noise.

    Args:
        quantile: in [0, 1], (n,).
        base: 10 in the paper; 1 is uniform.

    References:
        Kim et al. 2025 [kim2025simple].
    """
    if abs(base - 1) < _FLAT:
        return _inside(quantile)
    return _inside((torch.log1p(quantile.double() * (base - 1)) / math.log(base)).to(quantile.dtype))


def at(quantile: Tensor, *, t: Fraction = 1.0) -> Tensor:
    """One time always; 1 is direct regression from noise to data.

    Args:
        quantile: (n,), not used.
        t: which.
    """
    return _inside(torch.full_like(quantile, t))


def steps_of(quantile: Tensor, *, k: PositiveInt = 2) -> Tensor:
    """The times 1, 1 - 1/k, ..., 1/k at which a sampler of k steps evaluates (Liu et al. 2023).

    Args:
        quantile: in [0, 1], (n,).
        k: steps.
    """
    return _inside(((quantile * k).floor().clamp(max=k - 1) + 1) / k)


def _inside(t: Tensor) -> Tensor:
    return END + (1 - 2 * END) * t
