from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.measures import (
    MEASURES,
    accuracy,
    agreement,
    confusion_matrix,
    expected_calibration_error,
    flops,
    kl_to_teacher,
    negative_log_likelihood,
    parameters,
    per_class_accuracy,
    top_k_accuracy,
)

DRAW = torch.Generator().manual_seed(0)
LOGITS = torch.randn(50, 4, generator=DRAW)
TEACHER = torch.randn(50, 4, generator=DRAW)
LABELS = torch.randint(4, (50,), generator=DRAW)


def test_every_measure_is_known_and_documented() -> None:
    assert len(MEASURES) == 48
    for name in MEASURES:
        assert callable(MEASURES[name])
        assert MEASURES.describe(name).summary.endswith(".")


def test_accuracies_by_loops() -> None:
    ranked = [sorted(range(4), key=lambda k, row=row: -row[k]) for row in LOGITS.tolist()]
    labels = LABELS.tolist()
    for k in (1, 2, 4):
        hits = [y in order[:k] for y, order in zip(labels, ranked, strict=True)]
        assert top_k_accuracy(LOGITS, LABELS, k=k) == pytest.approx(sum(hits) / 50)
    assert accuracy(LOGITS, LABELS) == top_k_accuracy(LOGITS, LABELS, k=1)
    assert accuracy(LOGITS, torch.eye(4)[LABELS]) == accuracy(LOGITS, LABELS)


def test_confusion_counts_and_class_accuracy() -> None:
    matrix = confusion_matrix(LOGITS, LABELS)
    for true in range(4):
        for predicted in range(4):
            pairs = zip(LABELS.tolist(), LOGITS.argmax(1).tolist(), strict=True)
            assert matrix[true, predicted] == sum(pair == (true, predicted) for pair in pairs)
    assert matrix.diagonal().sum() / 50 == pytest.approx(accuracy(LOGITS, LABELS))
    for k, value in enumerate(per_class_accuracy(LOGITS, LABELS)):
        assert value.item() == pytest.approx(accuracy(LOGITS[k == LABELS], LABELS[k == LABELS]))


def test_agreement_and_divergence() -> None:
    assert agreement(LOGITS, LOGITS) == 1.0
    assert agreement(LOGITS, TEACHER) == accuracy(LOGITS, TEACHER.argmax(1))
    assert kl_to_teacher(LOGITS, LOGITS) == pytest.approx(0, abs=1e-7)
    p, q = TEACHER.softmax(1), LOGITS.softmax(1)
    assert kl_to_teacher(LOGITS, TEACHER) == pytest.approx((p * (p / q).log()).sum(1).mean().item(), rel=1e-5)


def test_likelihood() -> None:
    wanted = -LOGITS.log_softmax(1)[range(50), LABELS].mean().item()
    assert negative_log_likelihood(LOGITS, LABELS) == pytest.approx(wanted, rel=1e-5)


def test_calibration_by_loops() -> None:
    confidence, predicted = LOGITS.double().softmax(1).max(1)
    total = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            right = (predicted == LABELS)[inside].double().mean()
            total += float((right - confidence[inside].mean()).abs() * inside.sum() / 50)
    assert expected_calibration_error(LOGITS, LABELS) == pytest.approx(total)
    sure = 100.0 * torch.eye(4)[LABELS]
    assert expected_calibration_error(sure, LABELS) == pytest.approx(0)


def test_parameters_and_operations() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    model.train()
    model[1].eval()
    assert parameters(model) == 18 + 4 + 27
    assert flops(model, torch.zeros(1, 1, 4, 4)) == 2 * (4 * 18) + 2 * 24
    assert model.training
    assert not model[1].training
    assert model[1].num_batches_tracked == 0


def test_shared_parameters_count_once() -> None:
    layer = nn.Linear(2, 2)
    assert parameters(nn.Sequential(layer, layer)) == 6


def test_bad_input_is_explained() -> None:
    with pytest.raises(ConfigError, match="k must be between 1 and the 4 classes, got 5"):
        top_k_accuracy(LOGITS, LABELS, k=5)
    with pytest.raises(DataError, match="no samples"):
        accuracy(LOGITS[:0], LABELS[:0])
    with pytest.raises(ShapeError, match="agreement"):
        agreement(LOGITS, TEACHER[:, :2])
    with pytest.raises(ConfigError, match="bins must be above 0"):
        expected_calibration_error(LOGITS, LABELS, bins=0)


def test_nothing_is_differentiated() -> None:
    logits = LOGITS.clone().requires_grad_()
    for value in (
        accuracy(logits, LABELS),
        negative_log_likelihood(logits, LABELS),
        kl_to_teacher(logits, TEACHER),
    ):
        assert isinstance(value, float)
        assert math.isfinite(value)
    assert not per_class_accuracy(logits, LABELS).requires_grad
