"""Logit standardisation: with loops, what it takes away, and losses behind it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.losses import dkd, kd, standardise

few = settings(max_examples=25, deadline=None, derandomize=True)


def drawn(seed: int, samples: int = 4, classes: int = 6, spread: float = 1.0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return spread * torch.randn(samples, classes, generator=draw, dtype=torch.float64)


logits = st.builds(drawn, st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 8), st.floats(0.1, 20))


def test_loops_agree() -> None:
    values = drawn(0)
    for row, found in zip(values.tolist(), standardise(values).tolist(), strict=True):
        mean = sum(row) / len(row)
        deviation = math.sqrt(sum((x - mean) ** 2 for x in row) / (len(row) - 1))
        assert found == pytest.approx([(x - mean) / (1e-7 + deviation) for x in row], rel=1e-12)


@few
@given(logits)
def test_mean_zero_and_deviation_one(values: Tensor) -> None:
    found = standardise(values)
    torch.testing.assert_close(found.mean(dim=1), torch.zeros(len(values)).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.std(dim=1), torch.ones(len(values)).double(), rtol=1e-4, atol=0)


@few
@given(logits, st.floats(-50, 50), st.floats(0.1, 10))
def test_shift_and_scale_are_taken_away(values: Tensor, shift: float, scale: float) -> None:
    torch.testing.assert_close(standardise(scale * values + shift), standardise(values), rtol=1e-3, atol=1e-5)
    teacher, labels = standardise(values), torch.zeros(len(values), dtype=torch.int64)
    copy = standardise(scale * values + shift)
    assert kd(copy, teacher, temperature=2.0).abs().max() < 1e-5
    assert dkd(copy, teacher, labels, temperature=2.0).abs().max() < 1e-5


@few
@given(logits)
def test_the_order_of_classes_is_kept(values: Tensor) -> None:
    assert torch.equal(standardise(values).argsort(dim=1), values.argsort(dim=1))


def test_gradient_flows_through_mean_and_deviation() -> None:
    values, weights = drawn(1).requires_grad_(), drawn(2)
    assert torch.autograd.gradcheck(standardise, values)
    (gradient,) = torch.autograd.grad((standardise(values) * weights).sum(), values)
    # What neither a shift nor a factor changes has a gradient across both directions.
    assert gradient.sum(dim=1).abs().max() < 1e-12
    assert (gradient * values).sum(dim=1).abs().max() < 1e-5  # but for the constant 1e-7


def test_the_magnitude_of_a_loss_behind_it_no_longer_asks_for_the_teachers() -> None:
    teacher = drawn(3)
    student = (0.2 * teacher).requires_grad_()
    assert kd(student, teacher, temperature=2.0).max() > 1e-3
    value = kd(standardise(student), standardise(teacher), temperature=2.0).sum()
    (gradient,) = torch.autograd.grad(value, student)
    assert gradient.abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_constant_logits_stay_finite_and_precision_is_at_least_single(dtype: torch.dtype) -> None:
    found = standardise(torch.full((2, 5), 3.0, dtype=dtype))
    assert found.dtype == torch.promote_types(dtype, torch.float32)
    assert found.abs().max() == 0


@pytest.mark.parametrize("shape", [(4, 1), (4,), (2, 3, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="standardise: expected logits"):
        standardise(torch.zeros(shape))
