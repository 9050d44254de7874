from __future__ import annotations

import torch
from torch.distributions import Normal, kl_divergence

from limbeck.losses import gaussian_bhattacharyya, gaussian_kl, gaussian_symmetric_kl

DRAW = torch.Generator().manual_seed(0)
STUDENT, TEACHER = (torch.randn(3, 4, 5, 5, generator=DRAW, dtype=torch.float64) for _ in range(2))


def _normal(maps: torch.Tensor) -> Normal:
    return Normal(maps.mean(dim=(2, 3)), (maps.var(dim=(2, 3)) + 1e-5).sqrt())


def test_kl_agrees_with_torch_distributions() -> None:
    s, t = _normal(STUDENT), _normal(TEACHER)
    torch.testing.assert_close(gaussian_kl(STUDENT, TEACHER), kl_divergence(t, s).sum(dim=1))
    both = (kl_divergence(t, s) + kl_divergence(s, t)).sum(dim=1) / 2
    torch.testing.assert_close(gaussian_symmetric_kl(STUDENT, TEACHER), both)
    torch.testing.assert_close(gaussian_symmetric_kl(TEACHER, STUDENT), both)


def test_bhattacharyya_is_minus_the_log_of_the_overlap() -> None:
    x = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    values = gaussian_bhattacharyya(STUDENT[:, :1], TEACHER[:, :1])
    s, t = _normal(STUDENT[:, :1]), _normal(TEACHER[:, :1])
    overlap = torch.trapezoid(((s.log_prob(x) + t.log_prob(x)) / 2).exp(), x, dim=1)
    torch.testing.assert_close(values, -overlap.log(), rtol=1e-6, atol=1e-8)


def test_grid_averages_the_cells() -> None:
    corners = [
        gaussian_kl(STUDENT[:, :, a : a + 2, b : b + 2], TEACHER[:, :, a : a + 2, b : b + 2])
        for a in (0, 2)
        for b in (0, 2)
    ]
    torch.testing.assert_close(gaussian_kl(STUDENT[:, :, :4, :4], TEACHER[:, :, :4, :4], grid=2), sum(corners) / 4)
