from __future__ import annotations

import pytest
import torch
from torch.distributions import Exponential, Laplace, kl_divergence

from limbeck.losses import exponential_kl, exponential_w2, laplace_kl, laplace_w2

DRAW = torch.Generator().manual_seed(0)
STUDENT, TEACHER = (torch.rand(3, 4, 5, 5, generator=DRAW, dtype=torch.float64) for _ in range(2))


def _laplace(maps: torch.Tensor, eps: float = 0.0) -> Laplace:
    mean = maps.mean(dim=(2, 3), keepdim=True)
    return Laplace(mean.flatten(1), (maps - mean).abs().mean(dim=(2, 3)) + eps)


def test_kl_agrees_with_torch_distributions() -> None:
    wanted = kl_divergence(_laplace(TEACHER, 1e-3), _laplace(STUDENT, 1e-3)).sum(dim=1)
    torch.testing.assert_close(laplace_kl(STUDENT, TEACHER), wanted)
    rates = (Exponential(1 / maps.mean(dim=(2, 3))) for maps in (TEACHER, STUDENT))
    torch.testing.assert_close(exponential_kl(STUDENT, TEACHER), kl_divergence(*rates).sum(dim=1))


def test_w2_is_the_squared_difference_of_quantiles() -> None:
    levels = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    s, t = STUDENT[:1, :1], TEACHER[:1, :1] + 0.5
    for loss, family in (
        (laplace_w2, _laplace),
        (exponential_w2, lambda maps: Exponential(1 / maps.mean(dim=(2, 3)))),
    ):
        wanted = (family(s).icdf(levels) - family(t).icdf(levels)).square().mean()
        assert loss(s, t).item() == pytest.approx(wanted.item(), rel=1e-3)


def test_dead_channels_stay_finite() -> None:
    dead = torch.zeros(1, 2, 3, 3, requires_grad=True)
    for loss in (laplace_kl, exponential_kl, laplace_w2, exponential_w2):
        values = loss(dead, torch.rand(1, 2, 3, 3))
        (gradient,) = torch.autograd.grad(values.sum(), dead)
        assert values.isfinite().all()
        assert gradient.isfinite().all()
