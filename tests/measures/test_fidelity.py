from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.measures import (
    agreement,
    cohen_kappa,
    error_consistency,
    js_divergence,
    rank_correlation,
    same_mistake_rate,
    top_k_overlap,
    total_variation,
)

DRAW = torch.Generator().manual_seed(0)
STUDENT, TEACHER = torch.randn(2, 60, 5, generator=DRAW)
LABELS = torch.randint(5, (60,), generator=DRAW)
PAIRED = (top_k_overlap, js_divergence, total_variation, rank_correlation, cohen_kappa)


@given(st.integers(2, 30), st.integers(6, 9), st.integers(0, 99))
def test_symmetric_and_right_about_oneself(n, classes, seed) -> None:
    left, right = torch.randn(2, n, classes, generator=torch.Generator().manual_seed(seed))
    for measure in PAIRED:
        assert measure(left, right) == pytest.approx(measure(right, left), nan_ok=True)
    for measure, own in zip(PAIRED, (1, 0, 0, 1, 1), strict=True):
        value = measure(left, left)
        assert value == pytest.approx(own) or (measure is cohen_kappa and math.isnan(value))
    assert js_divergence(left, right) <= math.log(2)


def test_by_loops() -> None:
    ours, theirs, labels = STUDENT.argmax(1).tolist(), TEACHER.argmax(1).tolist(), LABELS.tolist()
    n = len(labels)
    expected = sum(ours.count(c) * theirs.count(c) for c in range(5)) / n**2
    assert cohen_kappa(STUDENT, TEACHER) == pytest.approx(
        (agreement(STUDENT, TEACHER) - expected) / (1 - expected)
    )
    right = [(a == y, b == y) for a, b, y in zip(ours, theirs, labels, strict=True)]
    alike = sum(a == b for a, b in right) / n
    accuracies = [sum(side) / n for side in zip(*right, strict=True)]
    expected = math.prod(accuracies) + math.prod(1 - a for a in accuracies)
    assert error_consistency(STUDENT, TEACHER, LABELS) == pytest.approx((alike - expected) / (1 - expected))
    mistakes = [a == b for a, b, y in zip(ours, theirs, labels, strict=True) if b != y]
    assert same_mistake_rate(STUDENT, TEACHER, LABELS) == pytest.approx(sum(mistakes) / len(mistakes))
    one_hot = torch.eye(5)[LABELS]
    assert error_consistency(STUDENT, TEACHER, one_hot) == error_consistency(STUDENT, TEACHER, LABELS)


def test_strangers() -> None:
    left, right = torch.randn(2, 20000, 10, generator=DRAW)
    assert top_k_overlap(left, right, k=3) == pytest.approx(0.3, abs=0.01)
    assert cohen_kappa(left, right) == pytest.approx(0, abs=0.02)
    assert rank_correlation(left, right) == pytest.approx(0, abs=0.01)


def test_what_cannot_be_told() -> None:
    sure = torch.eye(5)[LABELS]
    assert math.isnan(cohen_kappa(sure[:1], sure[:1]))
    assert math.isnan(error_consistency(sure, sure, LABELS))
    assert math.isnan(same_mistake_rate(STUDENT, sure, LABELS))
    assert math.isnan(rank_correlation(torch.zeros(3, 5), torch.zeros(3, 5)))


def test_errors() -> None:
    with pytest.raises(ConfigError, match="top_k_overlap: k must be between 1 and the 5 classes, got 6"):
        top_k_overlap(STUDENT, TEACHER, k=6)
    for measure in PAIRED:
        with pytest.raises(ShapeError, match=measure.__name__):
            measure(STUDENT, TEACHER[:, :4])
        with pytest.raises(DataError, match=measure.__name__):
            measure(STUDENT[:0], TEACHER[:0])
    with pytest.raises(DataError, match="labels run from 0 to 9"):
        error_consistency(STUDENT[:2], TEACHER[:2], torch.tensor([0, 9]))
