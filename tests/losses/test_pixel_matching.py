from __future__ import annotations

import ot
import pytest
import torch
from torch.nn import functional as F

from limbeck.losses import pixel_mmd, pixel_mmd_polynomial, pixel_transport

DRAW = torch.Generator().manual_seed(0)
STUDENT, TEACHER = (torch.randn(2, 3, 2, 4, generator=DRAW, dtype=torch.float64) for _ in range(2))


def test_mmd_by_loops() -> None:
    kernels = (
        (pixel_mmd, lambda x, y: torch.exp(-(x - y).square().sum() / 2)),
        (pixel_mmd_polynomial, lambda x, y: (x @ y) ** 2),
    )
    for loss, kernel in kernels:
        for s, t, value in zip(STUDENT, TEACHER, loss(STUDENT, TEACHER), strict=True):
            a, b = s.flatten(1).T, t.flatten(1).T

            def mean(xs: torch.Tensor, ys: torch.Tensor, k=kernel) -> torch.Tensor:
                return torch.stack([k(x, y) for x in xs for y in ys]).mean()

            torch.testing.assert_close(value, mean(a, a) + mean(b, b) - 2 * mean(a, b))


def test_order_of_pixels_does_not_matter() -> None:
    for loss in (pixel_mmd, pixel_mmd_polynomial, pixel_transport):
        torch.testing.assert_close(loss(STUDENT.flip(2), TEACHER), loss(STUDENT, TEACHER))


def _cost(s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return 1 - F.normalize(s.flatten(1).T, dim=1) @ F.normalize(t.flatten(1).T, dim=1).T


def test_transport_agrees_with_pot() -> None:
    values = pixel_transport(STUDENT, TEACHER, reg=0.2, iterations=500)
    uniform = torch.full((8,), 1 / 8, dtype=torch.float64).numpy()
    for s, t, value in zip(STUDENT, TEACHER, values, strict=True):
        theirs = ot.sinkhorn2(uniform, uniform, _cost(s, t).numpy(), 0.2, stopThr=1e-13, numItermax=10_000)
        assert value.item() == pytest.approx(float(theirs), rel=1e-8)


def test_transport_follows_the_gradient_of_the_entropic_problem() -> None:
    student = STUDENT.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(pixel_transport(student, TEACHER, reg=0.2, iterations=500).sum(), student)
    uniform = torch.full((8,), 1 / 8, dtype=torch.float64).numpy()
    direction = torch.randn(STUDENT.shape, generator=DRAW, dtype=torch.float64)

    def objective(maps: torch.Tensor) -> float:
        total = 0.0
        for s, t in zip(maps, TEACHER, strict=True):
            cost = _cost(s, t)
            plan = torch.from_numpy(
                ot.sinkhorn(uniform, uniform, cost.numpy(), 0.2, stopThr=1e-14, numItermax=10_000)
            )
            total += float((plan * cost).sum() + 0.2 * (plan * plan.log()).sum())
        return total

    slope = (objective(STUDENT + 1e-5 * direction) - objective(STUDENT - 1e-5 * direction)) / 2e-5
    assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-5)
