"""DIST: correlations with loops, what they ignore, batches of one."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import ConfigError, ShapeError
from limbeck.losses import dist

few = settings(max_examples=25, deadline=None, derandomize=True)
Batch = tuple[Tensor, Tensor]


def drawn(seed: int, samples: int = 5, classes: int = 4, spread: float = 1.0) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    student, teacher = (
        spread * torch.randn(samples, classes, generator=draw, dtype=torch.float64) for _ in range(2)
    )
    return student, teacher


batches = st.builds(drawn, st.integers(0, 10_000), st.integers(2, 6), st.integers(3, 8), st.floats(0.3, 3))


def correlation(a: list[float], b: list[float]) -> float:
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    a, b = [x - mean_a for x in a], [x - mean_b for x in b]
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / (lengths + 1e-8)


@pytest.mark.parametrize(("inter", "intra"), [(1.0, 1.0), (2.0, 0.0), (0.0, 0.7)])
def test_loops_agree(inter: float, intra: float) -> None:
    student, teacher = drawn(0)
    p, q = ((z / 2).softmax(dim=1) for z in (student, teacher))
    rows = [1 - correlation(a, b) for a, b in zip(p.tolist(), q.tolist(), strict=True)]
    columns = [1 - correlation(a, b) for a, b in zip(p.T.tolist(), q.T.tolist(), strict=True)]
    wanted = 4 * (inter * sum(rows) / len(rows) + intra * sum(columns) / len(columns))
    value = dist(student, teacher, inter_weight=inter, intra_weight=intra, temperature=2.0)
    assert value.item() == pytest.approx(wanted, rel=1e-10)


@few
@given(batches, st.floats(0.5, 4))
def test_a_constant_on_all_logits_changes_nothing(batch: Batch, temperature: float) -> None:
    student, teacher = batch
    student.requires_grad_()
    value = dist(student, teacher, temperature=temperature)
    moved = dist(student + 3, teacher - 7, temperature=temperature)
    torch.testing.assert_close(moved, value, rtol=1e-9, atol=1e-9)
    (gradient,) = torch.autograd.grad(value, student)
    assert gradient.sum(dim=1).abs().max() < 1e-8


@few
@given(batches)
def test_a_batch_twice_has_the_same_value(batch: Batch) -> None:
    # Lengths over samples grow with the batch, beside the constant 1e-8 of the released program.
    once = dist(*batch, temperature=1.0)
    twice = dist(*(torch.cat((x, x)) for x in batch), temperature=1.0)
    torch.testing.assert_close(twice, once, rtol=0, atol=1e-3)


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_probabilities_on_a_line_with_the_teachers_cost_nothing(share: float) -> None:
    """Probabilities mixed with the uniform distribution correlate perfectly with what they were."""
    _, teacher = drawn(3)
    mixed = (share * teacher.softmax(dim=1) + (1 - share) / teacher.shape[1]).log()
    inter = dist(mixed, teacher, intra_weight=0.0, temperature=1.0)
    intra = dist(mixed, teacher, inter_weight=0.0, temperature=1.0)
    assert inter.abs() < 1e-5
    assert intra.abs() < 1e-5


@few
@given(batches)
def test_each_part_lies_between_zero_and_two(batch: Batch) -> None:
    inter = dist(*batch, intra_weight=0.0, temperature=1.0)
    intra = dist(*batch, inter_weight=0.0, temperature=1.0)
    assert -1e-9 <= inter <= 2
    assert -1e-9 <= intra <= 2
    torch.testing.assert_close(
        dist(*batch, inter_weight=3.0, intra_weight=5.0, temperature=1.0), 3 * inter + 5 * intra
    )


def test_opposite_rankings_of_two_classes_give_two() -> None:
    student = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).double()
    value = dist(student, -student, intra_weight=0.0, temperature=1.0)
    assert value.item() == pytest.approx(2.0, abs=1e-6)


def test_of_one_sample_the_part_over_samples_is_the_constant_one() -> None:
    student, teacher = (x[:1].requires_grad_() for x in drawn(1))
    value = dist(student, teacher, inter_weight=0.0, temperature=3.0)
    assert value.item() == pytest.approx(9.0)
    value.backward()
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-6


def test_what_cannot_be_is_refused() -> None:
    student, teacher = drawn(2)
    with pytest.raises(ShapeError, match=r"dist: shapes must be equal.*\(5, 4\).*\(5, 3\)"):
        dist(student, teacher[:, :3])
    with pytest.raises(ConfigError, match="dist: temperature must be above 0"):
        dist(student, teacher, temperature=0.0)
