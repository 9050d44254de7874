"""Decoupled features and proposals, one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limbeck.errors import ConfigError, ShapeError
from limbeck.losses.detection import defeat, defeat_loss, defeat_proposals
from limbeck.numerics.imitation import box_mask


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT = [draw(2, 3, 4, 5, seed=0), draw(2, 2, 2, 2, seed=1)]
TEACHER = [draw(2, 3, 4, 5, seed=2), draw(2, 2, 2, 2, seed=3)]
BOXES = [torch.tensor([[0.1, 0.1, 0.5, 0.4], [0.3, 0.3, 0.9, 0.6]]), torch.zeros(0, 4)]


def test_the_loop_over_levels_positions_and_channels() -> None:
    wanted = 0.0
    for own, taught in zip(STUDENT, TEACHER, strict=True):
        sums, counts = {True: 0.0, False: 0.0}, {True: 0, False: 0}
        for n in range(2):
            mask = box_mask(BOXES[n], size=tuple(own.shape[2:]))
            for c in range(own.shape[1]):
                for y in range(own.shape[2]):
                    for x in range(own.shape[3]):
                        inside = bool(mask[y, x])
                        counts[inside] += 1
                        sums[inside] += float(own[n, c, y, x] - taught[n, c, y, x]) ** 2
        wanted += (3 * sums[True] / counts[True] + 12 * sums[False] / counts[False]) / 2 / len(STUDENT)
    assert float(defeat_loss(STUDENT, TEACHER, BOXES)) == pytest.approx(wanted)


def test_parts_add_up_and_a_batch_without_boxes_is_all_background() -> None:
    def part(foreground: float, background: float, boxes: list[Tensor] = BOXES) -> Tensor:
        return defeat_loss(STUDENT, TEACHER, boxes, foreground_weight=foreground, background_weight=background)

    torch.testing.assert_close(part(1, 0) + part(0, 2), part(1, 2))
    none = [torch.zeros(0, 4)] * 2
    assert part(1, 0, none) == 0
    wanted = torch.stack([(s - t).square().mean() / 2 for s, t in zip(STUDENT, TEACHER, strict=True)]).mean()
    torch.testing.assert_close(part(0, 1, none), wanted)
    whole = [torch.tensor([[0.0, 0.0, 1.0, 1.0]])] * 2
    torch.testing.assert_close(part(1, 0, whole), wanted)
    assert part(0, 1, whole) == 0


def test_module_weighs_as_the_function() -> None:
    shapes = [tuple(x.shape[1:]) for x in STUDENT]
    loss = defeat(
        student_shapes=shapes, teacher_shapes=shapes, foreground_weight=1.0, background_weight=5.0
    ).double()
    wanted = defeat_loss(loss.adapters(STUDENT), TEACHER, BOXES, foreground_weight=1.0, background_weight=5.0)
    torch.testing.assert_close(loss(STUDENT, TEACHER, BOXES), wanted)
    with pytest.raises(ShapeError, match="boxes of 1 images"):
        loss(STUDENT, TEACHER, BOXES[:1])


def test_proposals_are_the_loop() -> None:
    student, teacher = draw(5, 4, seed=4), draw(5, 4, seed=5)
    labels = torch.tensor([0, 2, 0, 3, 1])
    means = {True: [], False: []}
    for s, t, y in zip(student, teacher, labels.tolist(), strict=True):
        p, q = torch.softmax(t / 2, dim=0), torch.softmax(s / 2, dim=0)
        means[y > 0].append(float((p * (p.log() - q.log())).sum()))
    wanted = 4 * (3 * sum(means[True]) / 3 + 0.5 * sum(means[False]) / 2)
    value = defeat_proposals(
        student, teacher, labels, foreground_weight=3.0, background_weight=0.5, temperature=2.0
    )
    assert float(value) == pytest.approx(wanted)
    alone = defeat_proposals(student, teacher, torch.zeros_like(labels), foreground_weight=1e9)
    assert float(alone) < 1e3
    with pytest.raises(ShapeError, match=r"5 proposals.*\(4,\)"):
        defeat_proposals(student, teacher, labels[:4])
    with pytest.raises(ConfigError, match="temperature"):
        defeat_proposals(student, teacher, labels, temperature=0.0)
