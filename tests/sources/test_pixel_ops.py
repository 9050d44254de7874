"""Each operation at fixed amounts against torchvision's, on images of whole numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as V

from limbeck.sources import pixel_ops as ops
from limbeck.sources.augment_policies import RAND

WHOLE = torch.randint(0, 256, (4, 3, 12, 10), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
IMAGES = WHOLE.float() / 255
AMOUNTS = torch.tensor([0.3, 0.8, 1.0, 1.7])
NEAREST = InterpolationMode.NEAREST

CASES = {
    "brightness": (lambda x, a: ops.scale_brightness(x, a), lambda x, a: V.adjust_brightness(x, a), 1),
    "contrast": (lambda x, a: ops.scale_contrast(x, a), lambda x, a: V.adjust_contrast(x, a), 2),
    "saturation": (lambda x, a: ops.scale_saturation(x, a), lambda x, a: V.adjust_saturation(x, a), 2),
    "sharpness": (lambda x, a: ops.scale_sharpness(x, a), lambda x, a: V.adjust_sharpness(x, a), 2),
    "hue": (lambda x, a: ops.shift_hue(x, a - 1), lambda x, a: V.adjust_hue(x, min(a - 1, 0.5)), 2),
    "solarise": (lambda x, a: ops.solarise(x, a / 2), lambda x, a: V.solarize(x, a / 2 * 255), 0),
    "posterise": (
        lambda x, a: ops.posterise(x, (a * 4).round().clamp(max=8)),
        lambda x, a: V.posterize(x, min(round(a * 4), 8)),
        0,
    ),
    "equalise": (lambda x, a: ops.equalise(x), lambda x, a: V.equalize(x), 0),
    "stretch_contrast": (lambda x, a: ops.stretch_contrast(x), lambda x, a: V.autocontrast(x), 1),
    "grey": (lambda x, a: ops.grey(x), lambda x, a: V.rgb_to_grayscale(x), 1),
}


@pytest.mark.parametrize("name", CASES)
def test_colours_agree_with_torchvision_up_to_rounding(name):
    ours, theirs, levels = CASES[name]
    amounts = AMOUNTS.clamp(0.5, 1.5) if name == "hue" else AMOUNTS
    got = (ours(IMAGES, amounts) * 255).round()
    wanted = torch.stack([theirs(x, float(a)) for x, a in zip(WHOLE, amounts, strict=True)]).float()
    assert (got - wanted).abs().max() <= levels


GEOMETRY = {
    "shear_x": lambda x, v: V.affine(
        x, 0.0, [0, 0], 1.0, [math.degrees(math.atan(0.3 * v)), 0.0], NEAREST, center=[0, 0]
    ),
    "shear_y": lambda x, v: V.affine(
        x, 0.0, [0, 0], 1.0, [0.0, math.degrees(math.atan(0.3 * v))], NEAREST, center=[0, 0]
    ),
    "translate_x": lambda x, v: V.affine(x, 0.0, [int(150 / 331 * 10 * v), 0], 1.0, [0.0, 0.0], NEAREST),
    "translate_y": lambda x, v: V.affine(x, 0.0, [0, int(150 / 331 * 12 * v)], 1.0, [0.0, 0.0], NEAREST),
    "rotate": lambda x, v: V.rotate(x, 30 * v, NEAREST),
}


def warped(name, level):
    return ops.warp(IMAGES, RAND.warps[name](torch.full((4,), level), 12, 10))


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("level", [-0.9, -0.37, 0.37, 0.9])
def test_geometry_agrees_with_torchvision_but_for_ties_between_pixels(name, level):
    got = warped(name, level)
    wanted = torch.stack([GEOMETRY[name](x, level) for x in WHOLE]).float() / 255
    assert (got == wanted).float().mean() > 0.97


def test_amounts_that_change_nothing():
    one, zero = torch.ones(4), torch.zeros(4)
    for same in (
        ops.scale_brightness(IMAGES, one),
        ops.scale_contrast(IMAGES, one),
        ops.scale_saturation(IMAGES, one),
        ops.scale_sharpness(IMAGES, one),
        ops.shift_hue(IMAGES, zero),
        ops.posterise(IMAGES, 8 * one),
        ops.solarise(IMAGES, 2 * one),
        *(warped(name, 0.0) for name in GEOMETRY),
    ):
        torch.testing.assert_close(same, IMAGES, rtol=0, atol=1e-6)


def test_grey_images_have_no_colours_to_change():
    grey = IMAGES[:, :1]
    assert torch.equal(ops.scale_saturation(grey, AMOUNTS), grey)
    assert torch.equal(ops.shift_hue(grey, AMOUNTS), grey)
    flat = torch.full((2, 1, 4, 4), 0.25)
    assert torch.equal(ops.stretch_contrast(flat), flat)
    assert torch.equal(ops.equalise(flat), flat)
