from __future__ import annotations

import pytest
import torch

from limbeck.errors import ConfigError
from limbeck.numerics.transport import truncated_transport
from limbeck.numerics.transport_converged import converged_transport

DRAW = torch.Generator().manual_seed(0)
LOGITS = [torch.randn(3, 6, generator=DRAW, dtype=torch.float64) for _ in range(2)]
COST = torch.rand(6, 6, generator=DRAW, dtype=torch.float64)
TIGHT = {"reg": 0.1, "tolerance": 1e-12, "max_iterations": 20_000}


def test_gradient_of_both_marginals() -> None:
    def value(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return converged_transport(torch.softmax(student, 1), torch.softmax(teacher, 1), COST, **TIGHT)

    assert torch.autograd.gradcheck(value, [z.clone().requires_grad_() for z in LOGITS])


def test_gradient_equals_that_through_very_many_iterations() -> None:
    student = LOGITS[0].clone().requires_grad_()
    a, b = torch.softmax(student, 1), torch.softmax(LOGITS[1], 1)
    unrolled = truncated_transport(a, b, COST, reg=0.1, iterations=1500)
    exact = converged_transport(a, b, COST, **TIGHT)
    gradients = [torch.autograd.grad(v.sum(), student, retain_graph=True)[0] for v in (unrolled, exact)]
    torch.testing.assert_close(exact, unrolled, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)


def test_single_precision_inputs_converge_to_a_tight_tolerance() -> None:
    a, b = (torch.softmax(z.float(), 1) for z in LOGITS)
    values = converged_transport(a, b, COST.float(), **TIGHT)
    assert values.dtype == torch.float32
    wide = converged_transport(a.double(), b.double(), COST, **TIGHT)
    torch.testing.assert_close(values, wide.float(), rtol=1e-5, atol=1e-7)


def test_distributions_with_almost_no_mass_somewhere() -> None:
    sharp = torch.softmax(200 * LOGITS[0], 1).requires_grad_()
    values = converged_transport(sharp, torch.softmax(LOGITS[1], 1), COST, **TIGHT)
    (gradient,) = torch.autograd.grad(values.sum(), sharp)
    assert values.isfinite().all()
    assert gradient.isfinite().all()


def test_inputs_that_are_not_finite_are_reported() -> None:
    broken = torch.full((1, 6), float("nan"), dtype=torch.float64)
    with pytest.raises(ConfigError, match="values that are not finite"):
        converged_transport(broken, torch.softmax(LOGITS[1][:1], 1), COST, **TIGHT | {"max_iterations": 20})
