"""Masked generation: the mask, the generator, and that both follow the seed."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.losses.detection import mgd
from limbeck.losses.detection.mgd import position_mask


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SHAPES = {"student_shapes": [(4, 4, 5), (3, 2, 2)], "teacher_shapes": [(6, 4, 5), (3, 2, 2)]}
STUDENT = [draw(2, 4, 4, 5, seed=0), draw(2, 3, 2, 2, seed=1)]
TEACHER = [draw(2, 6, 4, 5, seed=2), draw(2, 3, 2, 2, seed=3)]


def test_mask_is_shared_by_channels_and_drawn_from_the_seed() -> None:
    torch.manual_seed(0)
    mask = position_mask(torch.ones(4, 3, 32, 32), 0.65)
    assert mask.shape == (4, 1, 32, 32)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert abs(float(mask.mean()) - 0.35) < 0.03
    torch.manual_seed(0)
    assert torch.equal(position_mask(torch.ones(4, 3, 32, 32), 0.65), mask)
    assert not torch.equal(position_mask(torch.ones(4, 3, 32, 32), 0.65), mask)
    assert position_mask(torch.ones(1, 1, 8, 8), 0.0).all()
    assert not position_mask(torch.ones(1, 1, 8, 8), 1.0).any()


def test_the_loop_over_levels_and_images() -> None:
    torch.manual_seed(5)
    loss = mgd(**SHAPES, weight=0.5, masked=0.4).double()
    torch.manual_seed(7)
    value = loss(STUDENT, TEACHER)
    torch.manual_seed(7)
    wanted = torch.zeros((), dtype=torch.float64)
    for level, (own, taught) in enumerate(zip(STUDENT, TEACHER, strict=True)):
        draws = torch.rand(2, 1, *own.shape[2:])
        adapted, (first, _, second) = loss.adapters.layers[level](own), loss.generators[level]
        for n in range(2):
            kept = torch.where(draws[n] < 0.4, 0.0, adapted[n])
            wanted = wanted + (second(first(kept[None]).relu())[0] - taught[n]).square().sum()
    torch.testing.assert_close(value, 0.5 * wanted / 2)


def test_fully_masked_the_student_does_not_matter() -> None:
    loss = mgd(**SHAPES, masked=1.0).double()
    torch.testing.assert_close(loss(STUDENT, TEACHER), loss([9 * x for x in STUDENT], TEACHER))
    assert [type(layer).__name__ for layer in loss.adapters.layers] == ["Conv2d", "Identity"]
