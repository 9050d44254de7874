"""Variational information distillation against torch's Gaussian likelihood; variances that learn."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import ConfigError, ShapeError
from limbeck.losses import VID


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(student: tuple[int, ...] = (3, 4, 4), teacher: tuple[int, ...] = (5, 4, 4), **settings: float) -> VID:
    torch.manual_seed(0)
    return VID(student_shape=student, teacher_shape=teacher, **settings).double()


def test_likelihood_of_torch_agrees() -> None:
    loss, student, teacher = build(), draw(2, 3, 4, 4, seed=0), draw(2, 5, 4, 4, seed=1)
    with torch.no_grad():
        loss.rho.copy_(draw(5, seed=2))
    variance = (F.softplus(loss.rho) + 1e-5)[:, None, None].expand_as(teacher)
    wanted = F.gaussian_nll_loss(loss.mean(student), teacher, variance, reduction="none")
    torch.testing.assert_close(loss(student, teacher), wanted.flatten(1).mean(dim=1))


@pytest.mark.parametrize("variance", [5.0, 0.01, 100.0])
def test_initial_variance(variance: float) -> None:
    loss = build(initial_variance=variance)
    torch.testing.assert_close(F.softplus(loss.rho) + 1e-5, torch.full((5,), variance).double(), rtol=1e-6, atol=0)


def test_larger_map_is_averaged_to_the_smaller() -> None:
    loss = build((3, 8, 8), (5, 4, 4))
    small, large = draw(2, 3, 4, 4, seed=0), draw(2, 3, 8, 8, seed=1)
    taught, taught_large = draw(2, 5, 4, 4, seed=2), draw(2, 5, 8, 8, seed=3)
    torch.testing.assert_close(loss(large, taught), loss(F.avg_pool2d(large, 2), taught))
    torch.testing.assert_close(loss(small, taught_large), loss(small, F.avg_pool2d(taught_large, 2)))


def test_variances_learn_the_size_of_the_errors() -> None:
    loss = build()
    student, teacher = torch.zeros(64, 3, 4, 4).double(), draw(64, 5, 4, 4, seed=1)
    teacher = teacher * torch.tensor([0.5, 1.0, 1.5, 2.0, 3.0])[:, None, None]
    optimizer = torch.optim.Adam([loss.rho], lr=0.3)
    for _ in range(200):
        optimizer.zero_grad()
        loss(student, teacher).mean().backward()
        optimizer.step()
    wanted = teacher.square().mean(dim=(0, 2, 3))
    torch.testing.assert_close(F.softplus(loss.rho).detach() + 1e-5, wanted, rtol=0.02, atol=0)
    least = 0.5 * (1 + wanted.log()).mean()
    assert math.isclose(float(loss(student, teacher).mean().detach()), float(least), rel_tol=1e-3)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ShapeError, match=r"needs maps \(c, h, w\), got features of shape \(3,\)"):
        build((3,))
    with pytest.raises(ConfigError, match=r"initial_variance must be above 0\.1"):
        build(initial_variance=0.1, eps=0.1)
    with pytest.raises(ShapeError, match=r"student_map \(n, 3, h, w\).*got \(2, 4, 4, 4\)"):
        build()(draw(2, 4, 4, 4, seed=0), draw(2, 5, 4, 4, seed=1))
