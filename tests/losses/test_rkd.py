"""RKD: distances and angles with loops, what moves without changing them, samples that coincide."""

from __future__ import annotations

import importlib
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


def test_value_and_gradient_far_from_the_origin_in_single_precision() -> None:
    """Features behind a ReLU have a large common part, which must not eat the digits of their differences."""
    student, teacher = pair(5)
    near = student.clone().requires_grad_()
    far = (student + 100).float().requires_grad_()
    wanted, value = rkd(near, teacher), rkd(far, (teacher + 100).float())
    gradients = [torch.autograd.grad(v, x)[0].double() for v, x in ((wanted, near), (value, far))]
    torch.testing.assert_close(value.double(), wanted, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-2, atol=1e-3)


def test_gradient_is_that_of_the_loops_written_with_tensors() -> None:
    student, teacher = pair(6)
    student.requires_grad_()

    def cosines_of(x: Tensor) -> Tensor:
        directions = x - x[:, None]
        unit = directions / directions.norm(dim=2, keepdim=True).clamp_min(1e-12)
        return torch.stack([row @ row.T for row in unit])

    def distances_of(x: Tensor) -> Tensor:
        squares = (x - x[:, None]).square().sum(dim=2)
        apart = ~torch.eye(len(x), dtype=torch.bool)
        found = squares[apart].sqrt()
        return found / found.mean()

    gaps = [
        (distances_of(student) - distances_of(teacher)).abs(),
        (cosines_of(student) - cosines_of(teacher)).abs(),
    ]
    huber_gaps = [torch.where(gap < 1, gap.square() / 2, gap - 0.5).sum() for gap in gaps]
    wanted = 25 * huber_gaps[0] / 25 + 50 * huber_gaps[1] / 125
    value = rkd(student, teacher)
    torch.testing.assert_close(value, wanted)
    expected, got = (torch.autograd.grad(v, student)[0] for v in (wanted, value))
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("angles", [1, 60])
def test_some_vertices_at_a_time_and_all_at_once_agree(angles: int, monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = pair(7)
    student.requires_grad_()
    whole = rkd_angle(student, teacher)
    module = importlib.import_module("limbeck.losses.rkd")  # the package's attribute of that name is the function
    monkeypatch.setattr(module, "ANGLES_AT_ONCE", dict.fromkeys(("cpu", "accelerator"), angles))
    parts = rkd_angle(student, teacher)
    torch.testing.assert_close(parts, whole)
    gradients = [torch.autograd.grad(value, student)[0] for value in (parts, whole)]
    torch.testing.assert_close(*gradients)


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_long_vectors_that_coincide_or_nearly_do_have_the_cosines_of_their_differences(dtype: torch.dtype) -> None:
    student, teacher = (draw(6, 1000, seed=s).to(dtype) for s in (0, 1))
    student[3], student[5] = student[1], student[0] + 1e-3 * student[2]

    def cosines_of(x: Tensor) -> Tensor:
        directions = torch.nn.functional.normalize(x - x[:, None], dim=2)
        return directions @ directions.mT

    wanted = torch.nn.functional.smooth_l1_loss(*(cosines_of(x.double()) for x in (student, teacher)))
    assert rkd_angle(student, teacher).item() == pytest.approx(wanted.item(), rel=1e-6)
    student.requires_grad_()
    rkd(student, teacher).backward()
    assert student.grad is not None
    assert student.grad.abs().max() < 10


def test_a_weight_of_zero_leaves_the_other_part() -> None:
    student, teacher = pair(6)
    torch.testing.assert_close(rkd(student, teacher, angle_weight=0.0), 25 * rkd_distance(student, teacher))
    torch.testing.assert_close(rkd(student, teacher, distance_weight=0.0), 50 * rkd_angle(student, teacher))
    student.requires_grad_()
    rkd(student, teacher, distance_weight=0.0, angle_weight=0.0).backward()
    assert student.grad is not None
    assert student.grad.abs().max() == 0


def test_second_derivative() -> None:
    student, teacher = pair(8, samples=4)
    student.requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: rkd(x, teacher), student)
    twice = torch.cat((student[:1], student)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(rkd(twice, torch.cat((teacher[:1], teacher))), twice, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), twice)
    assert second.isfinite().all()


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
