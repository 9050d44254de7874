"""NKD: the formula with loops, where its least value lies, invariances and edges."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.losses import cross_entropy, nkd

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


def softmax(logits: list[float], temperature: float = 1.0) -> list[float]:
    weights = [math.exp(x / temperature) for x in logits]
    return [w / sum(weights) for w in weights]


def test_loops_agree() -> None:
    student, teacher, labels = drawn(0)
    values = nkd(student, teacher, labels, gamma=1.3, temperature=2.0)
    for s, t, y, value in zip(student.tolist(), teacher.tolist(), labels.tolist(), values, strict=True):
        wanted = -softmax(t)[y] * math.log(softmax(s)[y])
        others = [k for k in range(len(s)) if k != y]
        p, q = (softmax([z[k] for k in others], 2.0) for z in (t, s))
        wanted -= 1.3 * 4 * sum(a * math.log(b) for a, b in zip(p, q, strict=True))
        assert value.item() == pytest.approx(wanted, rel=1e-12)


@few
@given(batches)
def test_without_the_others_it_is_cross_entropy_weighted_by_confidence(batch: Batch) -> None:
    student, teacher, labels = batch
    confidence = teacher.softmax(dim=1).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(nkd(*batch, gamma=0.0), confidence * cross_entropy(student, labels))


@few
@given(batches, temperatures)
def test_part_of_the_others_is_least_at_the_teacher_and_ignores_the_label(
    batch: Batch, temperature: float
) -> None:
    student, teacher, labels = batch

    def others(logits: Tensor) -> Tensor:
        return nkd(logits, teacher, labels, temperature=temperature) - nkd(logits, teacher, labels, gamma=0.0)

    least = others(teacher)
    assert (others(student) >= least - 1e-9).all()
    assert (least > -1e-12).all()  # an entropy, and not zero
    moved = student.scatter_add(1, labels[:, None], torch.full((len(labels), 1), 2.5).double())
    torch.testing.assert_close(others(moved), others(student), rtol=1e-8, atol=1e-8)


@few
@given(batches, temperatures)
def test_a_constant_on_all_logits_changes_nothing(batch: Batch, temperature: float) -> None:
    student, teacher, labels = batch
    student.requires_grad_()
    values = nkd(*batch, temperature=temperature)
    moved = nkd(student + 3, teacher - 7, labels, temperature=temperature)
    torch.testing.assert_close(moved, values, rtol=1e-9, atol=1e-10)
    (gradient,) = torch.autograd.grad(values.sum(), student)
    assert gradient.sum(dim=1).abs().max() < 1e-9


def test_a_batch_twice_has_each_value_twice() -> None:
    batch = drawn(1)
    twice = nkd(*(torch.cat((x, x)) for x in batch))
    torch.testing.assert_close(twice, nkd(*batch).repeat(2))


def test_known_values() -> None:
    even = torch.zeros(1, 4)
    torch.testing.assert_close(
        nkd(even, even, torch.tensor([2]), gamma=1.5, temperature=2.0),
        torch.tensor([0.25 * math.log(4) + 1.5 * 4 * math.log(3)]),
    )


@pytest.mark.parametrize("size", [200.0, 1e4])
def test_finite_where_probabilities_underflow(size: float) -> None:
    sure = torch.tensor([[size, 0.0, 1.0], [-size, 0.0, size]])
    student = sure.flip(0).requires_grad_()
    values = nkd(student, sure, torch.tensor([0, 0]))
    values.sum().backward()
    assert values.isfinite().all()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_weights_over_classes_count_as_their_largest() -> None:
    student, teacher, labels = drawn(3)
    soft = torch.nn.functional.one_hot(labels, 6) * 0.8 + 0.2 / 6
    torch.testing.assert_close(nkd(student, teacher, soft), nkd(student, teacher, labels))


def test_what_cannot_be_is_refused() -> None:
    student, teacher, labels = drawn(4)
    with pytest.raises(ShapeError, match=r"nkd: shapes must be equal.*\(4, 6\).*\(4, 5\)"):
        nkd(student, teacher[:, :5], labels)
    with pytest.raises(ShapeError, match=r"nkd: needs two classes or more, got logits \(4, 1\)"):
        nkd(student[:, :1], teacher[:, :1], 0 * labels)
    with pytest.raises(DataError, match="nkd"):
        nkd(student, teacher, labels + 6)
    with pytest.raises(ConfigError, match="nkd: temperature must be above 0"):
        nkd(student, teacher, labels, temperature=float("nan"))
