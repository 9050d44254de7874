"""DKD: the formula with loops, how it takes KD apart, and teachers and students who are very sure."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.losses import dkd, kd

few = settings(max_examples=25, deadline=None, derandomize=True)
Batch = tuple[Tensor, Tensor, Tensor]


def drawn(seed: int, samples: int = 4, classes: int = 6, spread: float = 1.0) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    student, teacher = (
        spread * torch.randn(samples, classes, generator=draw, dtype=torch.float64) for _ in range(2)
    )
    return student, teacher, torch.randint(classes, (samples,), generator=draw)


batches = st.builds(drawn, st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 8), st.floats(0.1, 5))
temperatures = st.floats(0.5, 8)


def softmax(logits: list[float], temperature: float) -> list[float]:
    weights = [math.exp(x / temperature) for x in logits]
    return [w / sum(weights) for w in weights]


def kl(teacher: list[float], student: list[float]) -> float:
    return sum(t * math.log(t / s) for t, s in zip(teacher, student, strict=True))


def test_loops_agree() -> None:
    student, teacher, labels = drawn(0)
    values = dkd(student, teacher, labels, alpha=0.7, beta=3.0, temperature=2.0)
    for s, t, y, value in zip(student.tolist(), teacher.tolist(), labels.tolist(), values, strict=True):
        p, q = softmax(t, 2.0), softmax(s, 2.0)
        about_label = kl([p[y], 1 - p[y]], [q[y], 1 - q[y]])
        others = [k for k in range(len(s)) if k != y]
        about_others = kl(softmax([t[k] for k in others], 2.0), softmax([s[k] for k in others], 2.0))
        assert value.item() == pytest.approx(4 * (0.7 * about_label + 3.0 * about_others), rel=1e-10)


@few
@given(batches, temperatures)
def test_kd_is_the_part_about_the_label_plus_the_doubt_times_the_part_about_the_others(
    batch: Batch, temperature: float
) -> None:
    student, teacher, labels = batch
    about_label = dkd(*batch, alpha=1.0, beta=0.0, temperature=temperature)
    about_others = dkd(*batch, alpha=0.0, beta=1.0, temperature=temperature)
    doubt = 1 - (teacher / temperature).softmax(dim=1).gather(1, labels[:, None])[:, 0]
    whole = kd(student, teacher, temperature=temperature)
    torch.testing.assert_close(about_label + doubt * about_others, whole, rtol=1e-9, atol=1e-11)


@few
@given(batches, temperatures)
def test_a_constant_on_all_logits_changes_nothing(batch: Batch, temperature: float) -> None:
    student, teacher, labels = batch
    student.requires_grad_()
    values = dkd(*batch, temperature=temperature)
    moved = dkd(student + 3, teacher - 7, labels, temperature=temperature)
    torch.testing.assert_close(moved, values, rtol=1e-9, atol=1e-10)
    (gradient,) = torch.autograd.grad(values.sum(), student)
    assert gradient.sum(dim=1).abs().max() < 1e-9


@few
@given(batches)
def test_parts_add_up_and_are_not_negative(batch: Batch) -> None:
    label, others = dkd(*batch, alpha=1.0, beta=0.0), dkd(*batch, alpha=0.0, beta=1.0)
    assert min(label.min(), others.min()) > -1e-12
    torch.testing.assert_close(dkd(*batch, alpha=2.0, beta=5.0), 2 * label + 5 * others)


def test_a_batch_twice_has_each_value_twice() -> None:
    batch = drawn(1)
    twice = dkd(*(torch.cat((x, x)) for x in batch))
    torch.testing.assert_close(twice, dkd(*batch).repeat(2))


def test_of_two_classes_only_the_label_is_left() -> None:
    student, teacher, labels = drawn(2, classes=2)
    assert dkd(student, teacher, labels, alpha=0.0).abs().max() == 0
    torch.testing.assert_close(
        dkd(student, teacher, labels, temperature=3.0), kd(student, teacher, temperature=3.0)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [200.0, 1e4])
def test_finite_where_probabilities_underflow(size: float, dtype: torch.dtype) -> None:
    """The label is certain for the teacher and impossible for the student, and the other way round."""
    sure = torch.tensor([[size, 0.0, 1.0], [-size, 0.0, 1.0]], dtype=dtype)
    student = sure.flip(0).requires_grad_()
    values = dkd(student, sure, torch.tensor([0, 0]), temperature=1.0)
    values.sum().backward()
    assert values.isfinite().all()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    # -log q(y) of the first sample, and log (1 - q(y)) of the second, are differences of logits.
    wanted = torch.tensor([size + math.log(1 + math.e), size - math.log(1 + math.e)], dtype=dtype)
    torch.testing.assert_close(values.detach()[0], wanted[0])
    assert values.detach()[1] == pytest.approx(size, rel=0.02)


def test_weights_over_classes_count_as_their_largest() -> None:
    student, teacher, labels = drawn(3)
    soft = torch.nn.functional.one_hot(labels, 6) * 0.8 + 0.2 / 6
    torch.testing.assert_close(dkd(student, teacher, soft), dkd(student, teacher, labels))


def test_what_cannot_be_is_refused() -> None:
    student, teacher, labels = drawn(4)
    with pytest.raises(ShapeError, match=r"dkd: shapes must be equal.*\(4, 6\).*\(4, 5\)"):
        dkd(student, teacher[:, :5], labels)
    with pytest.raises(ShapeError, match=r"dkd: needs two classes or more, got logits \(4, 1\)"):
        dkd(student[:, :1], teacher[:, :1], 0 * labels)
    with pytest.raises(DataError, match="dkd"):
        dkd(student, teacher, labels + 6)
    with pytest.raises(ShapeError, match=r"dkd: labels have shape \(3,\)"):
        dkd(student, teacher, labels[:3])
    with pytest.raises(ConfigError, match="dkd: temperature must be above 0"):
        dkd(student, teacher, labels, temperature=0.0)
