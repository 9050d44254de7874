"""Tones and blur against torchvision at fixed strengths, and for the share of images that was asked for."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torchvision.transforms.v2 import functional as V

from limbeck.errors import DataError
from limbeck.seeding import uniforms
from limbeck.sources import autocontrast, equalise, gaussian_blur, invert, posterise, sharpen, solarise
from limbeck.sources.augment import DRAWS
from limbeck.sources.pixel_ops import blur

WHOLE = torch.randint(0, 256, (40, 3, 20, 18), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
IMAGES = WHOLE.float() / 255
NUMBERS = uniforms(torch.arange(40), seed=0, epoch=1, draws=DRAWS)

CASES = {
    "posterise": (partial(posterise, bits=3), lambda x: V.posterize(x, 3), 0),
    "solarise": (partial(solarise, threshold=128 / 255), lambda x: V.solarize(x, 128), 0),
    "invert": (invert, V.invert, 0),
    "autocontrast": (autocontrast, V.autocontrast, 1),
    "equalise": (equalise, V.equalize, 0),
    "sharpen": (partial(sharpen, factor=2.0), lambda x: V.adjust_sharpness(x, 2.0), 2),
}


@pytest.mark.parametrize("name", CASES)
def test_chosen_images_are_torchvisions_and_the_others_stay(name):
    change, theirs, levels = CASES[name]
    got = change(IMAGES, NUMBERS, probability=0.4)
    for image, whole, found, draw in zip(IMAGES, WHOLE, got, NUMBERS[:, 0].tolist(), strict=True):
        if draw < 0.4:
            assert ((found * 255).round() - theirs(whole).float()).abs().max() <= levels
        else:
            assert torch.equal(found, image)


@pytest.mark.parametrize("name", CASES)
def test_all_or_none(name):
    change = CASES[name][0]
    assert torch.equal(change(IMAGES, NUMBERS, probability=0.0), IMAGES)
    assert not torch.equal(change(IMAGES, NUMBERS, probability=1.0), IMAGES)


@pytest.mark.parametrize("size", [3, 5, 9])
def test_blur_is_torchvisions(size):
    sigma = torch.tensor([0.1, 0.5, 1.0, 2.0])
    got = blur(IMAGES[:4], sigma, size=size)
    wanted = torch.stack([V.gaussian_blur(x, size, float(s)) for x, s in zip(IMAGES[:4], sigma, strict=True)])
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)


def test_blur_smooths_what_it_chooses():
    got = gaussian_blur(IMAGES, NUMBERS, size=5, smallest=0.5, probability=0.5)
    rough, smooth = ((x[..., 1:] - x[..., :-1]).abs().mean((1, 2, 3)) for x in (IMAGES, got))
    chosen = NUMBERS[:, 0] < 0.5
    assert bool((smooth[chosen] < rough[chosen]).all())
    assert torch.equal(got[~chosen], IMAGES[~chosen])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (partial(posterise, bits=9), "has 8 bits, got bits 9"),
        (partial(gaussian_blur, size=4), "odd size"),
        (partial(gaussian_blur, size=41), "odd size below twice the images' 18 pixels"),
        (partial(gaussian_blur, smallest=3.0), "smallest <= largest"),
    ],
)
def test_wrong_settings(change, message):
    with pytest.raises(DataError, match=message):
        change(IMAGES, NUMBERS)
