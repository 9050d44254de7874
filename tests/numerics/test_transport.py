from __future__ import annotations

import ot
import pytest
import torch

from limbeck.numerics.transport import truncated_plan, truncated_transport

DRAW = torch.Generator().manual_seed(0)
STUDENT, TEACHER = (torch.softmax(torch.randn(3, 6, generator=DRAW, dtype=torch.float64), 1) for _ in range(2))
COST = torch.rand(6, 6, generator=DRAW, dtype=torch.float64)


@pytest.mark.parametrize("iterations", [1, 2, 3, 10])
@pytest.mark.filterwarnings("ignore:Sinkhorn did not converge")
def test_plans_are_pots_up_to_the_guard(iterations: int) -> None:
    plans = truncated_plan(STUDENT, TEACHER, COST, reg=0.2, iterations=iterations)
    for a, b, plan in zip(STUDENT, TEACHER, plans, strict=True):
        theirs = ot.sinkhorn(a.numpy(), b.numpy(), COST.numpy(), 0.2, numItermax=iterations, stopThr=0)
        torch.testing.assert_close(plan, torch.from_numpy(theirs), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("iterations", [1, 5, 400])
def test_rows_are_met_always_and_columns_in_the_end(iterations: int) -> None:
    plans = truncated_plan(STUDENT, TEACHER, COST, reg=0.1, iterations=iterations)
    torch.testing.assert_close(plans.sum(dim=2), STUDENT, rtol=0.0, atol=1e-6)
    gap = (plans.sum(dim=1) - TEACHER).abs().max()
    assert (gap < 1e-6) == (iterations == 400)


def test_value_is_the_cost_of_the_plan() -> None:
    plans = truncated_plan(STUDENT, TEACHER, COST, reg=0.1, iterations=7)
    values = truncated_transport(STUDENT, TEACHER, COST, reg=0.1, iterations=7)
    torch.testing.assert_close(values, (plans * COST).sum(dim=(1, 2)))


def test_second_derivatives_exist() -> None:
    def value(x: torch.Tensor) -> torch.Tensor:
        return truncated_transport(torch.softmax(x, 1), TEACHER[:1], COST, reg=0.3, iterations=3)

    x = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(value, x)
