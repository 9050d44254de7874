"""MLD: three alignments with loops, how they depend on the batch, and the shares of the released program."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import ConfigError, ShapeError
from limbeck.losses import kd, mld, mld_batch, mld_class, mld_instance

few = settings(max_examples=25, deadline=None, derandomize=True)
Batch = tuple[Tensor, Tensor]


def drawn(seed: int, samples: int = 5, classes: int = 4, spread: float = 1.0) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    student, teacher = (
        spread * torch.randn(samples, classes, generator=draw, dtype=torch.float64) for _ in range(2)
    )
    return student, teacher


batches = st.builds(drawn, st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 8), st.floats(0.1, 5))


def softmax(logits: list[list[float]], temperature: float) -> list[list[float]]:
    weights = [[math.exp(x / temperature) for x in row] for row in logits]
    return [[w / sum(row) for w in row] for row in weights]


def product(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def relations(student: list[list[float]], teacher: list[list[float]]) -> float:
    """Squared difference of all products of two rows, over the number of rows."""
    total = 0.0
    for i in range(len(student)):
        for j in range(len(student)):
            total += (product(teacher[i], teacher[j]) - product(student[i], student[j])) ** 2
    return total / len(student)


def columns(rows: list[list[float]]) -> list[list[float]]:
    return [list(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("classes", [4, 5, 9])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_relations_with_loops(temperature: float, classes: int) -> None:
    student, teacher = drawn(0, samples=5, classes=classes)
    p, q = (softmax(z.tolist(), temperature) for z in (student, teacher))
    assert mld_batch(student, teacher, temperature=temperature).item() == pytest.approx(relations(p, q), rel=1e-10)
    wanted = relations(columns(p), columns(q))
    assert mld_class(student, teacher, temperature=temperature).item() == pytest.approx(wanted, rel=1e-10)


def test_the_whole_is_the_sum_over_temperatures() -> None:
    batch = drawn(1)
    wanted = 0.0
    for temperature in (2.0, 5.0):
        wanted += float(kd(*batch, temperature=temperature).mean())
        wanted += float(mld_batch(*batch, temperature=temperature) + mld_class(*batch, temperature=temperature))
    instance = sum(kd(*batch, temperature=temperature) for temperature in (2.0, 5.0))
    torch.testing.assert_close(mld_instance(*batch, temperatures=(2.0, 5.0)), instance)
    assert mld(*batch, temperatures=(2.0, 5.0)).item() == pytest.approx(wanted, rel=1e-10)


@few
@given(batches)
def test_a_constant_on_all_logits_changes_nothing(batch: Batch) -> None:
    student, teacher = batch
    student.requires_grad_()
    value = mld(student, teacher)
    torch.testing.assert_close(mld(student + 3, teacher - 7), value, rtol=1e-9, atol=1e-10)
    (gradient,) = torch.autograd.grad(value, student)
    assert gradient.sum(dim=1).abs().max() < 1e-9


@few
@given(batches)
def test_a_batch_twice_doubles_the_batch_part_and_makes_four_of_the_class_part(batch: Batch) -> None:
    """Four times as many pairs over twice the samples; class products twice as large, squared."""
    twice = [torch.cat((x, x)) for x in batch]
    torch.testing.assert_close(mld_batch(*twice), 2 * mld_batch(*batch))
    torch.testing.assert_close(mld_class(*twice), 4 * mld_class(*batch))


@few
@given(batches, st.integers(0, 1000))
def test_the_order_of_classes_does_not_matter(batch: Batch, seed: int) -> None:
    order = torch.randperm(batch[0].shape[1], generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(mld(*(x[:, order] for x in batch)), mld(*batch))


def test_the_batch_part_cannot_tell_classes_that_are_swapped_everywhere() -> None:
    _, teacher = drawn(2)
    swapped = teacher[:, [1, 0, 2, 3]]
    assert mld_batch(swapped, teacher).abs() < 1e-15
    assert mld_class(swapped, teacher) > 1e-4


@few
@given(batches)
def test_in_the_code_each_part_counts_by_the_share_of_unsure_samples_or_classes(batch: Batch) -> None:
    p = batch[1].softmax(dim=1).numpy()
    samples, classes = p.max(axis=1), p.sum(axis=0)
    share_of_samples = float((samples <= np.percentile(samples, 50)).mean())
    share_of_classes = float((classes <= np.percentile(classes, 50)).mean())
    by_class = sum(mld_class(*batch, temperature=t) for t in (2.0, 3.0, 4.0, 5.0, 6.0))
    wanted = share_of_samples * (mld(*batch) - by_class) + share_of_classes * by_class
    torch.testing.assert_close(mld(*batch, source="code"), wanted, rtol=1e-9, atol=1e-11)


def test_shares_are_a_half_of_an_even_number_and_more_of_an_odd_one() -> None:
    batch = drawn(3, samples=6, classes=4)
    torch.testing.assert_close(mld(*batch, source="code"), mld(*batch) / 2)
    student, teacher = drawn(3, samples=5, classes=3)  # 3 of 5 samples, 2 of 3 classes
    by_class = sum(mld_class(student, teacher, temperature=t) for t in (2.0, 3.0, 4.0, 5.0, 6.0))
    wanted = 3 / 5 * (mld(student, teacher) - by_class) + 2 / 3 * by_class
    torch.testing.assert_close(mld(student, teacher, source="code"), wanted)


def test_what_cannot_be_is_refused() -> None:
    student, teacher = drawn(4)
    for loss in (mld, mld_batch, mld_class, mld_instance):
        with pytest.raises(ShapeError, match=r"shapes must be equal.*\(5, 4\).*\(5, 3\)"):
            loss(student, teacher[:, :3])
    with pytest.raises(ConfigError, match="mld: temperatures is empty"):
        mld(student, teacher, temperatures=())
    with pytest.raises(ConfigError, match="mld_instance: temperatures is empty"):
        mld_instance(student, teacher, temperatures=())
    with pytest.raises(ConfigError, match="mld: temperatures must be above 0, got -1"):
        mld(student, teacher, temperatures=(2.0, -1.0))
    with pytest.raises(ConfigError, match="mld_batch: temperature must be above 0"):
        mld_batch(student, teacher, temperature=0.0)
