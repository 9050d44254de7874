"""PKT: the table of neighbours with loops, what it ignores, vectors of zeros."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import ConfigError, ShapeError
from limbeck.losses import pkt

few = settings(max_examples=25, deadline=None, derandomize=True)
EPS = 1e-7


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(seed: int, samples: int = 5) -> tuple[Tensor, Tensor]:
    return draw(samples, 4, seed=seed), draw(samples, 6, seed=seed + 1)


pairs = st.builds(pair, st.integers(0, 10_000), st.integers(2, 6))


def neighbours(points: Tensor) -> list[list[float]]:
    rows = points.tolist()
    rows = [[x / (math.sqrt(sum(y * y for y in row)) + EPS) for x in row] for row in rows]
    table = [[(1 + sum(x * y for x, y in zip(a, b, strict=True))) / 2 for b in rows] for a in rows]
    return [[x / sum(row) for x in row] for row in table]


def test_loops_agree() -> None:
    student, teacher = pair(0)
    q, p = neighbours(student), neighbours(teacher)
    wanted = sum(p[i][j] * math.log((p[i][j] + EPS) / (q[i][j] + EPS)) for i in range(5) for j in range(5)) / 25
    assert pkt(student, teacher).item() == pytest.approx(wanted, rel=1e-9)


@few
@given(pairs, st.integers(0, 1000))
def test_a_turn_and_a_factor_for_each_sample_change_nothing(points: tuple[Tensor, Tensor], seed: int) -> None:
    student, teacher = points
    turn, _ = torch.linalg.qr(draw(4, 4, seed=seed))
    scale = draw(len(student), 1, seed=seed).abs() + 0.1
    torch.testing.assert_close(pkt(scale * student @ turn, teacher), pkt(student, teacher), rtol=1e-3, atol=1e-7)


@few
@given(pairs)
def test_a_batch_twice_halves_the_value(points: tuple[Tensor, Tensor]) -> None:
    """Rows of twice the length have entries half as large, and the mean is over four times as many."""
    twice = [torch.cat((x, x)) for x in points]
    torch.testing.assert_close(pkt(*twice), pkt(*points) / 2, rtol=1e-4, atol=1e-7)


@few
@given(pairs)
def test_not_negative(points: tuple[Tensor, Tensor]) -> None:
    assert pkt(*points) > -1e-7


def test_known_value() -> None:
    """Neighbourhoods (2/3, 1/3) of the teacher against (1/2, 1/2) of the student."""
    apart, alike = torch.eye(2).double(), torch.ones(2, 3).double()
    wanted = (2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)) / 2
    assert pkt(alike, apart).item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_vector_of_zeros_has_finite_value_and_gradient_zero(dtype: torch.dtype) -> None:
    student, teacher = (x.to(dtype) for x in pair(1))
    student[2] = 0
    student.requires_grad_()
    value = pkt(student, teacher)
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert student.grad[[0, 1, 3, 4]].abs().max() > 0
    assert student.grad[2].abs().max() == 0
    assert neighbours(student.detach())[2] == pytest.approx([0.2] * 5, rel=1e-6)
    assert pkt(teacher, student.detach()).isfinite()


def test_opposite_vectors_stay_finite() -> None:
    student = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    value = pkt(student, torch.ones(2, 2))
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_one_sample_says_nothing() -> None:
    student, teacher = pair(2, samples=1)
    assert pkt(student, teacher).abs() < 1e-12


def test_what_cannot_be_is_refused() -> None:
    student, teacher = pair(3)
    with pytest.raises(ShapeError, match=r"pkt: expected vectors.*\(4, 4\).*\(5, 6\)"):
        pkt(student[:4], teacher)
    with pytest.raises(ShapeError, match="pkt: expected vectors"):
        pkt(student[:, :, None], teacher)
    with pytest.raises(ConfigError, match="pkt: eps must be above 0"):
        pkt(student, teacher, eps=0.0)
