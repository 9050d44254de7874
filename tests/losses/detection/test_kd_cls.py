"""KD_cls: naive recomputation, limits, and the background column; recorded values are in tests/golden."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import ConfigError, ShapeError
from limbeck.losses.detection.kd_cls import kd_cls, kd_cls_sigmoid, kd_cls_sigmoid_l1, kd_cls_softmax

DRAW = torch.Generator().manual_seed(0)
TEACHER = torch.randn(6, 4, generator=DRAW, dtype=torch.float64)
STUDENT = torch.randn(6, 5, generator=DRAW, dtype=torch.float64)


def test_softmax_form_naively() -> None:
    found = kd_cls_softmax(STUDENT, TEACHER, temperature=2.0)
    for z, t, value in zip(STUDENT.tolist(), TEACHER.tolist(), found.tolist(), strict=True):
        q = [math.exp(x / 2) for x in z]
        p = [0.0] + [math.exp(x / 2) for x in t]
        q, p = [x / sum(q) for x in q], [x / sum(p) for x in p]
        wanted = 4 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)
        assert value == pytest.approx(wanted)


def test_sigmoid_form_naively() -> None:
    found = kd_cls_sigmoid(STUDENT[:, :4], TEACHER, temperature=2.0)
    for z, t, value in zip(STUDENT[:, :4].tolist(), TEACHER.tolist(), found.tolist(), strict=True):
        wanted = 0.0
        for a, b in zip(z, t, strict=True):
            q, p = 1 / (1 + math.exp(-a / 2)), 1 / (1 + math.exp(-b / 2))
            wanted += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
        assert value == pytest.approx(4 * wanted / 4)


def test_equal_logits_without_background_cost_nothing() -> None:
    student = torch.cat((torch.full((6, 1), -1e4, dtype=torch.float64), TEACHER), dim=1)
    torch.testing.assert_close(kd_cls_softmax(student, TEACHER), torch.zeros(6, dtype=torch.float64))
    torch.testing.assert_close(kd_cls_sigmoid(TEACHER, TEACHER), torch.zeros(6, dtype=torch.float64))
    torch.testing.assert_close(kd_cls_sigmoid_l1(TEACHER, TEACHER), torch.zeros(6, dtype=torch.float64))


def test_the_background_is_pushed_down_on_every_positive() -> None:
    student = STUDENT.clone().requires_grad_()
    kd_cls_softmax(student, TEACHER).sum().backward()
    assert student.grad is not None
    assert (student.grad[:, 0] > 0).all()


def test_a_certain_teacher_lifts_its_own_class_and_no_neighbour() -> None:
    """A background column at the wrong place would lift the class beside it."""
    teacher = torch.full((1, 4), -30.0)
    teacher[0, 2] = 30.0
    student = torch.zeros(1, 5, requires_grad=True)
    kd_cls(student, teacher).sum().backward()
    assert student.grad is not None
    assert (student.grad < 0).nonzero().tolist() == [[0, 3]]


@given(st.floats(0.5, 8), st.integers(0, 5))
def test_never_below_zero(temperature: float, row: int) -> None:
    for values in (
        kd_cls_softmax(STUDENT[row : row + 1], TEACHER[row : row + 1], temperature=temperature),
        kd_cls_sigmoid(STUDENT[row : row + 1, 1:], TEACHER[row : row + 1], temperature=temperature),
        kd_cls_sigmoid_l1(STUDENT[row : row + 1, 1:], TEACHER[row : row + 1], temperature=temperature),
    ):
        assert float(values) >= -1e-12


def test_extreme_logits_stay_finite() -> None:
    large = torch.tensor([[200.0, -200.0]])
    for values in (
        kd_cls_softmax(torch.tensor([[0.0, -200.0, 200.0]]), large),
        kd_cls_sigmoid(-large, large),
        kd_cls_sigmoid_l1(-large, large),
    ):
        assert torch.isfinite(values).all()


def test_no_positives_give_no_values() -> None:
    assert kd_cls(STUDENT[:0], TEACHER[:0]).shape == (0,)


def test_teachers_get_no_gradient() -> None:
    teacher = TEACHER.clone().requires_grad_()
    kd_cls(STUDENT.clone().requires_grad_(), teacher).sum().backward()
    assert teacher.grad is None


def test_classes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ShapeError, match=r"a classifier of 4 classes fits a detector with 5 outputs .* has 7"):
        kd_cls(torch.zeros(2, 7), torch.zeros(2, 4))
    with pytest.raises(ConfigError, match="temperature"):
        kd_cls_softmax(STUDENT, TEACHER, temperature=0.0)
