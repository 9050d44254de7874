"""RKD: distances and angles with loops, what moves without changing them, samples that coincide."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.losses import rkd, rkd_angle, rkd_distance

few = settings(max_examples=25, deadline=None, derandomize=True)
Points = list[list[float]]


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(seed: int, samples: int = 5) -> tuple[Tensor, Tensor]:
    return draw(samples, 3, seed=seed), 2 + draw(samples, 6, seed=seed + 1)


pairs = st.builds(pair, st.integers(0, 10_000), st.integers(2, 6))


def minus(a: list[float], b: list[float]) -> list[float]:
    return [x - y for x, y in zip(a, b, strict=True)]


def length(a: list[float]) -> float:
    return math.sqrt(sum(x * x for x in a))


def huber(gap: float) -> float:
    return 0.5 * gap * gap if abs(gap) < 1 else abs(gap) - 0.5


def distances(points: Points) -> list[float]:
    found = [length(minus(a, b)) for a in points for b in points]
    positive = [x for x in found if x > 0]
    return [x * len(positive) / sum(positive) for x in found]


def cosines(points: Points) -> list[float]:
    found = []
    for j in points:
        for i in points:
            for k in points:
                a, b = minus(i, j), minus(k, j)
                scale = max(length(a), 1e-12) * max(length(b), 1e-12)
                found.append(sum(x * y for x, y in zip(a, b, strict=True)) / scale)
    return found


def mean_huber(a: list[float], b: list[float]) -> float:
    return sum(huber(x - y) for x, y in zip(a, b, strict=True)) / len(a)


def test_loops_agree() -> None:
    student, teacher = pair(0)
    student[0] *= 9  # some gaps beyond the threshold
    s, t = student.tolist(), teacher.tolist()
    distance, angle = mean_huber(distances(s), distances(t)), mean_huber(cosines(s), cosines(t))
    assert max(abs(a - b) for a, b in zip(distances(s), distances(t), strict=True)) > 1
    assert rkd_distance(student, teacher).item() == pytest.approx(distance, rel=1e-9)
    assert rkd_angle(student, teacher).item() == pytest.approx(angle, rel=1e-9)
    whole = rkd(student, teacher, distance_weight=3.0, angle_weight=0.5)
    assert whole.item() == pytest.approx(3.0 * distance + 0.5 * angle, rel=1e-9)


@few
@given(pairs, st.integers(0, 1000), st.floats(0.1, 10))
def test_a_move_a_turn_and_a_factor_change_nothing(points: tuple[Tensor, Tensor], seed: int, scale: float) -> None:
    student, teacher = points
    turn, _ = torch.linalg.qr(draw(3, 3, seed=seed))
    moved = scale * student @ turn + draw(3, seed=seed + 1)
    for loss in (rkd_distance, rkd_angle, rkd):
        torch.testing.assert_close(loss(moved, teacher), loss(student, teacher), rtol=1e-6, atol=1e-9)


@few
@given(pairs)
def test_neither_part_is_negative(points: tuple[Tensor, Tensor]) -> None:
    assert rkd_distance(*points) >= 0
    assert 0 <= rkd_angle(*points) <= 1.5


def test_the_mean_distance_of_the_student_is_differentiated() -> None:
    """Along a common factor of all features the loss is flat, so the gradient has no part in that direction."""
    student, teacher = pair(1)
    student.requires_grad_()
    (gradient,) = torch.autograd.grad(rkd(student, teacher), student)
    centred = (student - student.mean(dim=0)).detach()
    assert (gradient * centred).sum().abs() < 1e-9
    assert gradient.sum(dim=0).abs().max() < 1e-9


def test_a_batch_twice_is_another_batch() -> None:
    points = pair(2)
    twice = [torch.cat((x, x)) for x in points]
    assert not torch.allclose(rkd(*twice), rkd(*points), rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("samples", [1, 2, 4])
def test_samples_that_coincide_and_a_batch_of_one_stay_finite(samples: int, dtype: torch.dtype) -> None:
    student = torch.full((samples, 3), 0.7, dtype=dtype, requires_grad=True)
    teacher = draw(samples, 6, seed=0).to(dtype)
    value = rkd(student, teacher)
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    if samples == 1:
        assert value == 0
        assert student.grad.abs().max() == 0
    assert rkd(teacher, student.detach()).isfinite()


def test_two_of_several_that_coincide_stay_finite() -> None:
    student, teacher = pair(3)
    student[1] = student[0]
    student.requires_grad_()
    value = rkd(student, teacher)
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_right_angle_against_a_straight_line() -> None:
    """Of 27 cosines the line changes six: two at each of three corners."""
    corner = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).double()
    line = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]).double()
    wanted = 2 * (huber(1.0) + 2 * huber(1 - math.sqrt(0.5))) / 27
    assert rkd_angle(corner, line).item() == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("loss", [rkd, rkd_distance, rkd_angle])
def test_what_cannot_be_is_refused(loss: object) -> None:
    assert callable(loss)
    student, teacher = pair(4)
    with pytest.raises(ShapeError, match=r"expected vectors.*\(4, 3\).*\(5, 6\)"):
        loss(student[:4], teacher)
    with pytest.raises(ShapeError, match="expected vectors"):
        loss(student[:, :, None, None], teacher)
