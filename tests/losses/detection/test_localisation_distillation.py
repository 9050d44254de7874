"""Localisation distillation, side by side."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from limbeck.errors import ConfigError, ShapeError
from limbeck.losses.detection import ld, ld_classes, ld_summed

N, A, BINS = 2, 4, 6


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER = draw(N, A, 4, BINS, seed=0), draw(N, A, 4, BINS, seed=1)
LOGITS, TEACHER_LOGITS = draw(N, A, 3, seed=2), draw(N, A, 3, seed=3)
POSITIVES = torch.tensor([[True, False, True, False], [False, False, False, True]])
REGION = torch.tensor([[True, True, False, False], [True, False, False, True]])
NEAR = [(0, 1), (1, 0)]  # in the region and no positives


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> float:
    """Mean over the entries, times the squared temperature."""
    p, q = ([math.exp(float(v) / temperature) for v in x] for x in (teacher, student))
    p, q = [v / sum(p) for v in p], [v / sum(q) for v in q]
    return temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / len(p)


def anchor(n: int, a: int, temperature: float = 10.0) -> float:
    return sum(divergence(STUDENT[n, a, side], TEACHER[n, a, side], temperature) for side in range(4)) / 4


def test_means_over_positives_and_over_the_region() -> None:
    positives = [anchor(n, a) for n, a in POSITIVES.nonzero().tolist()]
    near = [anchor(n, a) for n, a in NEAR]
    value = ld(STUDENT, TEACHER, POSITIVES, REGION)
    assert float(value) == pytest.approx(0.25 * sum(positives) / 3 + 0.25 * sum(near) / 2)
    value = ld(STUDENT, TEACHER, POSITIVES, REGION, weight=2.0, region_weight=0.0, temperature=3.0)
    wanted = [anchor(n, a, 3.0) for n, a in POSITIVES.nonzero().tolist()]
    assert float(value) == pytest.approx(2 * sum(wanted) / 3)


def test_sums_weighed_by_the_score() -> None:
    wanted = 0.25 * sum(anchor(n, a) for n, a in NEAR) / 4
    for n, a in POSITIVES.nonzero().tolist():
        wanted += 0.25 * anchor(n, a) / (1 + math.exp(-max(LOGITS[n, a].tolist())))
    assert float(ld_summed(STUDENT, TEACHER, LOGITS, POSITIVES, REGION)) == pytest.approx(wanted)
    with pytest.raises(ShapeError, match="student_class_logits"):
        ld_summed(STUDENT, TEACHER, LOGITS[:, :2], POSITIVES, REGION)


def test_classes_on_positives() -> None:
    values = [divergence(LOGITS[n, a], TEACHER_LOGITS[n, a], 2.0) for n, a in POSITIVES.nonzero().tolist()]
    assert float(ld_classes(LOGITS, TEACHER_LOGITS, POSITIVES)) == pytest.approx(10 * sum(values) / 3)


def test_other_anchors_do_not_count_and_masks_must_fit() -> None:
    moved = STUDENT.clone()
    moved[1, 1] = 50.0
    torch.testing.assert_close(ld(moved, TEACHER, POSITIVES, REGION), ld(STUDENT, TEACHER, POSITIVES, REGION))
    with pytest.raises(ShapeError, match=r"ld: \(2, 4\) anchors, but a mask of shape \(2, 3\)"):
        ld(STUDENT, TEACHER, POSITIVES[:, :3], REGION)
    with pytest.raises(ConfigError, match="temperature"):
        ld_classes(LOGITS, TEACHER_LOGITS, POSITIVES, temperature=0.0)
