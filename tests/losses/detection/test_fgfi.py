"""Fine-grained imitation, position by position."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from limbeck.errors import ShapeError
from limbeck.losses.detection import fgfi, fgfi_loss


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT = [draw(2, 3, 2, 3, seed=0), draw(2, 3, 1, 2, seed=1)]
TEACHER = [draw(2, 3, 2, 3, seed=2), draw(2, 3, 1, 2, seed=3)]
MASKS = [draw(2, 2, 3, seed=4) > 0, draw(2, 1, 2, seed=5) > -1]


def test_the_loop_with_one_count_for_all_levels() -> None:
    total, positions = 0.0, 0
    for own, taught, mask in zip(STUDENT, TEACHER, MASKS, strict=True):
        for n, y, x in mask.nonzero().tolist():
            positions += 1
            total += sum((float(own[n, c, y, x]) - float(taught[n, c, y, x])) ** 2 for c in range(3))
    assert float(fgfi_loss(STUDENT, TEACHER, MASKS)) == pytest.approx(total / (2 * positions))


def test_what_is_outside_the_mask_does_not_count() -> None:
    moved = [x + 9 * (~mask)[:, None] for x, mask in zip(STUDENT, MASKS, strict=True)]
    torch.testing.assert_close(fgfi_loss(moved, TEACHER, MASKS), fgfi_loss(STUDENT, TEACHER, MASKS))


def test_weight_and_a_3x3_adapter_that_starts_near_zero() -> None:
    shapes = {"student_shapes": [(4, 2, 3)], "teacher_shapes": [(3, 2, 3)]}
    loss = fgfi(**shapes).double()
    layer = loss.adapters.layers[0]
    assert isinstance(layer, nn.Conv2d)
    assert layer.kernel_size == (3, 3)
    assert 0 < layer.weight.abs().max() <= 2e-4
    student = draw(2, 4, 2, 3, seed=6)
    wanted = 0.01 * fgfi_loss([layer(student)], TEACHER[:1], MASKS[:1])
    torch.testing.assert_close(loss([student], TEACHER[:1], MASKS[:1]), wanted)
    torch.testing.assert_close(
        fgfi(**shapes, weight=0.0)([student.float()], TEACHER[:1], MASKS[:1]).sum().item(), 0.0
    )


def test_masks_of_other_sizes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"anchor_masks of shapes \[\(2, 2, 3\), \(2, 1, 2\)\]"):
        fgfi_loss(STUDENT, TEACHER, MASKS[::-1])
