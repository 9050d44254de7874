"""Pearson correlation of maps: loops, invariance, sizes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from limbeck.losses.detection import pkd, pkd_loss
from limbeck.numerics.levels import resize_to


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT = [draw(2, 3, 4, 5, seed=0), draw(2, 2, 2, 2, seed=1)]
TEACHER = [draw(2, 3, 4, 5, seed=2), draw(2, 2, 2, 2, seed=3)]


def pearson(first: list[float], second: list[float]) -> float:
    mean = [sum(v) / len(v) for v in (first, second)]
    moved = [[x - m for x in v] for v, m in zip((first, second), mean, strict=True)]
    spread = math.sqrt(sum(x * x for x in moved[0]) * sum(x * x for x in moved[1]))
    return sum(a * b for a, b in zip(*moved, strict=True)) / spread


def test_one_minus_the_correlation_of_each_channel() -> None:
    wanted = 0.0
    for own, taught in zip(STUDENT, TEACHER, strict=True):
        channels, count = own.shape[1], own[:, 0].numel()
        for c in range(channels):
            r = pearson(own[:, c].flatten().tolist(), taught[:, c].flatten().tolist())
            wanted += (1 - r) * (count - 1) / count / channels  # deviations are unbiased
    assert float(pkd_loss(STUDENT, TEACHER)) == pytest.approx(wanted, rel=1e-5)


def test_scale_and_shift_of_channels_change_nothing() -> None:
    value = pkd_loss(STUDENT, TEACHER)
    for seed in range(3):
        scales = [draw(1, x.shape[1], 1, 1, seed=seed).exp() for x in STUDENT]
        moved = [a * x + 5 * a for a, x in zip(scales, STUDENT, strict=True)]
        torch.testing.assert_close(pkd_loss(moved, TEACHER), value, rtol=1e-5, atol=1e-6)
        moved = [a * x - 1 for a, x in zip(scales, TEACHER, strict=True)]
        torch.testing.assert_close(pkd_loss(STUDENT, moved), value, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        pkd_loss(TEACHER, [-x for x in TEACHER]), torch.tensor(2 * 39 / 40 + 2 * 7 / 8).double(), rtol=1e-4, atol=0
    )


def test_student_is_resized_where_sizes_differ() -> None:
    student = [draw(2, 3, 8, 8, seed=4)]
    torch.testing.assert_close(
        pkd_loss(student, TEACHER[:1]), pkd_loss(resize_to(student, TEACHER[:1]), TEACHER[:1])
    )


def test_weight_and_no_weights_where_channels_agree() -> None:
    shapes = [tuple(x.shape[1:]) for x in STUDENT]
    loss = pkd(student_shapes=shapes, teacher_shapes=shapes)
    assert not list(loss.parameters())
    torch.testing.assert_close(loss(STUDENT, TEACHER), 6 * pkd_loss(STUDENT, TEACHER))
