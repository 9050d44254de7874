"""RDED: crops, tiles of any side, and what is chosen."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.dataset.formation import tiled
from limbeck.dataset.methods.rded import random_crop, rded
from limbeck.errors import ConfigError


def teacher() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 3)).eval().requires_grad_(False)


def test_crops_are_squares_of_the_asked_share():
    # A ramp from 0 to 1 shows where a crop begins and how far it goes.
    ramp = torch.linspace(0, 1, 32).expand(400, 1, 32, 32)
    found = random_crop(ramp, 16, 0.08, torch.Generator().manual_seed(0))
    span = (found[:, 0, 0, -1] - found[:, 0, 0, 0]) * (16 / 15) * (31 / 32)
    share = span.square()
    assert float(share.min()) == pytest.approx(0.08, abs=0.03)
    assert float(share.max()) == pytest.approx(1, abs=0.08)
    assert float(share.mean()) == pytest.approx(0.54, abs=0.04)


def test_shrinking_does_not_alias():
    stripes = (torch.arange(32) % 2).float().expand(8, 1, 32, 32)
    found = random_crop(stripes, 16, 1.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, torch.full_like(found, 0.5))


def test_a_whole_image_of_the_same_side_is_itself():
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(random_crop(images, 8, 1.0, torch.Generator().manual_seed(0)), images)


def test_the_first_tiles_are_a_pixel_larger_where_the_side_does_not_divide():
    patches = torch.arange(4.0)[:, None, None, None].expand(4, 1, 2, 2)
    found = tiled(patches, 1, 2, 5)
    assert found.shape == (1, 1, 5, 5)
    assert found[0, 0, 0].tolist() == [0, 0, 0, 1, 1]
    assert found[0, 0, :, 0].tolist() == [0, 0, 0, 2, 2]


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_every_class_gets_its_images(ground, factor):
    begun = ground(teacher=teacher(), images=72)
    method = rded(begun, factor=factor, candidates=20, crops=3)
    for number in range(3):
        method.iteration(number)
    assert method.images.shape == begun.start.shape
    assert not (method.images == begun.start).flatten(1).all(1).any()


def test_more_crops_are_recognised_better(ground):
    few, many = (rded(ground(teacher=teacher()), candidates=12, crops=crops) for crops in (1, 8))
    assert many.iteration(0)["loss"] < few.iteration(0)["loss"]


def test_impossible_tiles_are_refused(ground):
    with pytest.raises(ConfigError, match="9 tiles a side do not fit into 8 pixels"):
        rded(ground(teacher=teacher()), factor=9)
    with pytest.raises(ConfigError, match="class 'a' has 12 real images; 18 tiles are asked for"):
        rded(ground(teacher=teacher()), factor=3).iteration(0)
