"""Cross-head distillation, anchor by anchor."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision.ops
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.losses.detection import crosskd_boxes, crosskd_classes, crosskd_sides

N, A, C = 2, 4, 3


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CROSSED, TEACHER = draw(N, A, C, seed=0), draw(N, A, C, seed=1)
MATCHES = torch.tensor([[1, -1, -2, 0], [-1, -1, -1, -2]])
POSITIVES = 3  # two in the first image, and one for the second, which has none


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def corners(seed: int) -> Tensor:
    points = 20 * draw(N, A, 2, 2, seed=seed).abs()
    return torch.cat((points.amin(dim=2), points.amax(dim=2)), dim=2)


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_classes(beta: float) -> None:
    wanted = 0.0
    for n in range(N):
        for a in range(A):
            for c in range(C):
                q, p = sigmoid(float(CROSSED[n, a, c])), sigmoid(float(TEACHER[n, a, c]))
                entropy = -p * math.log(q) - (1 - p) * math.log(1 - q)
                wanted += (MATCHES[n, a] != -2).item() * abs(q - p) ** beta * entropy
    value = crosskd_classes(CROSSED, TEACHER, MATCHES, beta=beta, weight=2.0)
    assert float(value) == pytest.approx(2 * wanted / POSITIVES)


def test_boxes() -> None:
    crossed, taught = corners(2), corners(3)
    wanted = 0.0
    for n in range(N):
        for a in range(A):
            if MATCHES[n, a] == -2:
                continue
            overlap = torchvision.ops.generalized_box_iou(crossed[n, a][None], taught[n, a][None])
            wanted += max(sigmoid(float(z)) for z in TEACHER[n, a]) * (1 - float(overlap))
    value = crosskd_boxes(crossed, taught, TEACHER, MATCHES)
    assert float(value) == pytest.approx(wanted / POSITIVES)


def test_sides() -> None:
    crossed, taught = draw(N, A, 4, 6, seed=4), draw(N, A, 4, 6, seed=5)
    wanted, total = 0.0, 0.0
    for n in range(N):
        for a in range(A):
            weight = (MATCHES[n, a] != -2).item() * max(sigmoid(float(z)) for z in TEACHER[n, a])
            total += weight
            for side in range(4):
                p, q = (torch.softmax(x[n, a, side] / 2, dim=0) for x in (taught, crossed))
                wanted += weight * 4 * float((p * (p / q).log()).sum()) / 4
    value = crosskd_sides(crossed, taught, TEACHER, MATCHES, temperature=2.0)
    assert float(value) == pytest.approx(4 * wanted / total, rel=1e-5)


def test_ignored_anchors_do_not_count() -> None:
    moved = CROSSED.clone()
    moved[0, 2] = 100.0
    torch.testing.assert_close(
        crosskd_classes(moved, TEACHER, MATCHES), crosskd_classes(CROSSED, TEACHER, MATCHES)
    )


def test_matches_of_another_shape_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"crosskd_classes: \(2, 4\) anchors, but anchor_matches \(2, 3\)"):
        crosskd_classes(CROSSED, TEACHER, MATCHES[:, :3])
    with pytest.raises(ShapeError, match=r"crosskd_boxes.*teacher_class_logits"):
        crosskd_boxes(corners(2), corners(3), TEACHER[:, :3], MATCHES)
