"""Policies: every operation is drawn, on bytes as on floats, and each image is changed by its own."""

from __future__ import annotations

import pytest
import torch

from limbeck.errors import DataError
from limbeck.seeding import uniforms
from limbeck.sources import pixel_ops as ops
from limbeck.sources import rand_augment, trivial_augment
from limbeck.sources.augment import DRAWS, whole
from limbeck.sources.augment_policies import RAND, WIDE

WHOLE = torch.randint(0, 256, (200, 3, 20, 18), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
NUMBERS = uniforms(torch.arange(200), seed=0, epoch=1, draws=DRAWS)


@pytest.mark.parametrize("change", [rand_augment, trivial_augment])
def test_bytes_and_floats_become_the_same(change):
    got = change(WHOLE, NUMBERS)
    assert got.dtype == torch.uint8
    assert torch.equal(change(WHOLE.float() / 255, NUMBERS), got.float() / 255)


def test_each_image_by_its_operation():
    policy = {**RAND.warps, **RAND.colours}
    which, level = whole(NUMBERS[:, 0], len(RAND)), torch.where(NUMBERS[:, 1] < 0.5, -0.4, 0.4)
    got = rand_augment(WHOLE, NUMBERS, num_ops=1, magnitude=12.0)
    assert set(which.tolist()) == set(range(14))
    for row, number in enumerate(which.tolist()):
        image, one = WHOLE[row : row + 1], level[row : row + 1]
        if number < len(RAND.warps):
            wanted = ops.warp(image, list(policy.values())[number](one, 20, 18))
        elif number < len(policy):
            changed = list(policy.values())[number](image.float() / 255, one)
            wanted = (changed * 255).round().to(torch.uint8)
        else:
            wanted = image
        assert torch.equal(got[row : row + 1], wanted)


def test_magnitude_zero_changes_nothing_but_contrast():
    got = rand_augment(WHOLE, NUMBERS, num_ops=1, magnitude=0.0)
    which = whole(NUMBERS[:, 0], len(RAND))
    names = [*RAND.warps, *RAND.colours, "identity"]
    same = [names[w] not in ("stretch_contrast", "equalise", "solarise") for w in which.tolist()]
    assert torch.equal(got[torch.tensor(same)], WHOLE[torch.tensor(same)])


def test_the_wide_ranges_are_wider():
    assert len(WIDE) == len(RAND) == 14
    level = torch.ones(1)
    assert float(WIDE.warps["translate_x"](level, 64, 64)[0, 0, 2]) == -32
    assert float(RAND.warps["translate_x"](level, 64, 64)[0, 0, 2]) == -29


@pytest.mark.parametrize("settings", [{"num_ops": 5}, {"magnitude": 31.0}])
def test_beyond_the_ranges(settings):
    with pytest.raises(DataError, match="num_ops is at most 4 and magnitude at most 30"):
        rand_augment(WHOLE, NUMBERS, **settings)
