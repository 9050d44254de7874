"""SP: the table of similarities with loops, what it ignores, how it depends on the batch."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.losses import sp

few = settings(max_examples=25, deadline=None, derandomize=True)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(seed: int, samples: int = 4) -> tuple[Tensor, Tensor]:
    return draw(samples, 2, 3, 3, seed=seed), draw(samples, 5, 2, 2, seed=seed + 1)


pairs = st.builds(pair, st.integers(0, 10_000), st.integers(1, 6))


def similarities(features: Tensor) -> list[list[float]]:
    flat = features.flatten(1).tolist()
    table = [[sum(x * y for x, y in zip(a, b, strict=True)) for b in flat] for a in flat]
    return [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in table]


def test_loops_agree() -> None:
    student, teacher = pair(0)
    a, b = similarities(student), similarities(teacher)
    wanted = sum((a[i][j] - b[i][j]) ** 2 for i in range(4) for j in range(4)) / 16
    assert sp(student, teacher).item() == pytest.approx(wanted, rel=1e-12)


@few
@given(pairs, st.integers(0, 1000), st.floats(0.1, 10))
def test_a_turn_and_a_factor_change_nothing(maps: tuple[Tensor, Tensor], seed: int, scale: float) -> None:
    student, teacher = maps
    flat = student.flatten(1)
    turn, _ = torch.linalg.qr(draw(flat.shape[1], flat.shape[1], seed=seed))
    torch.testing.assert_close(sp(scale * flat @ turn, teacher), sp(student, teacher), rtol=1e-9, atol=1e-12)


@few
@given(pairs)
def test_a_batch_twice_halves_the_value(maps: tuple[Tensor, Tensor]) -> None:
    """Rows of twice the length are scaled by the root of two more, and the mean has the same weight."""
    torch.testing.assert_close(sp(*(torch.cat((x, x)) for x in maps)), sp(*maps) / 2, rtol=1e-9, atol=1e-12)


@few
@given(pairs)
def test_at_most_four_over_the_batch(maps: tuple[Tensor, Tensor]) -> None:
    assert 0 <= sp(*maps) <= 4 / len(maps[0]) + 1e-12


def test_known_value() -> None:
    apart, alike = torch.eye(2), torch.ones(2, 3)
    root = math.sqrt(0.5)
    torch.testing.assert_close(sp(apart, alike), torch.tensor(((1 - root) ** 2 + root**2) / 2))


def test_one_sample_says_nothing() -> None:
    student = draw(1, 4, seed=0).requires_grad_()
    value = sp(student, draw(1, 7, seed=1))
    value.backward()
    assert value.abs() < 1e-15
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-12


def test_vectors_and_maps_may_be_compared() -> None:
    student, teacher = draw(4, 6, seed=0), draw(4, 5, 2, 2, seed=1)
    torch.testing.assert_close(sp(student, teacher), sp(student[:, :, None, None], teacher.flatten(1)))


def test_what_cannot_be_is_refused() -> None:
    student, teacher = pair(1)
    with pytest.raises(ShapeError, match=r"sp: expected features.*\(3, 2, 3, 3\).*\(4, 5, 2, 2\)"):
        sp(student[:3], teacher)
    with pytest.raises(ShapeError, match="sp: expected features"):
        sp(torch.zeros(4), teacher)
