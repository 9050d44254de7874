import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import functional as TF

from limbeck.errors import DataError
from limbeck.seeding import uniforms
from limbeck.sources import AUGMENTS, brightness, contrast, crop, cutout, flip, rotate, translate
from limbeck.sources._registry import AUGMENTATIONS
from limbeck.sources.augment import DRAWS

SETTINGS = {
    "crop": {"padding": 3},
    "flip": {},
    "translate": {"pixels": 2},
    "rotate": {"degrees": 20.0},
    "cutout": {"size": 4},
    "brightness": {},
    "contrast": {},
    "colour_jitter": {"hue": 0.2},
    "greyscale": {"probability": 0.5},
    "random_resized_crop": {},
    "random_erasing": {"probability": 0.7},
    "rand_augment": {"num_ops": 3, "magnitude": 12.0},
    "trivial_augment": {},
    "gaussian_blur": {"size": 5},
    "posterise": {},
    "solarise": {},
    "equalise": {},
    "autocontrast": {},
    "sharpen": {"factor": 3.0},
    "invert": {},
}


def images(n=9, c=3, h=12, w=10, seed=0):
    return torch.rand(n, c, h, w, generator=torch.Generator().manual_seed(seed))


def draws(n=9, seed=0):
    return uniforms(torch.arange(n), seed=seed, epoch=1, draws=DRAWS)


def test_every_augmentation_is_tested():
    assert set(SETTINGS) == set(AUGMENTATIONS) <= set(AUGMENTS)


@pytest.mark.parametrize(("name", "settings"), SETTINGS.items())
def test_shape_range_and_input_untouched(name, settings):
    given_images = images(h=20, w=18)  # equalising needs 256 pixels to change any
    before = given_images.clone()
    out = AUGMENTS[name](given_images, draws(), **settings)
    assert (out.shape, out.dtype) == (before.shape, before.dtype)
    assert not torch.equal(out, before)
    assert torch.equal(given_images, before)
    assert out.min() >= 0
    assert out.max() <= 1


@pytest.mark.parametrize(("name", "settings"), SETTINGS.items())
@pytest.mark.parametrize("at", [0, 5, 8])
def test_an_image_does_not_depend_on_its_batch(name, settings, at):
    given_images = images(h=20, w=18)
    whole = AUGMENTS[name](given_images, draws(), **settings)
    alone = AUGMENTS[name](given_images[at : at + 1], draws()[at : at + 1], **settings)
    assert torch.equal(whole[at : at + 1], alone)
    assert AUGMENTS[name](given_images[:0], draws()[:0], **settings).shape == (0, 3, 20, 18)


@given(seed=st.integers(0, 1000), padding=st.integers(1, 5))
def test_crop_and_flip_are_what_torchvision_does_image_by_image(seed, padding):
    x, d = images(n=5, seed=seed), draws(n=5, seed=seed)
    cropped = crop(x, d, padding=padding)
    flipped = flip(cropped, d[:, 2:])
    for i in range(5):
        top, left = (math.floor(float(d[i, k]) * (2 * padding + 1)) for k in (0, 1))
        expected = TF.crop(TF.pad(x[i], [padding] * 4), top, left, 12, 10)
        assert torch.equal(cropped[i], expected)
        assert torch.equal(flipped[i], TF.hflip(expected) if d[i, 2] < 0.5 else expected)


def test_crop_naively():
    x, d = images(n=4), draws(n=4)
    out = crop(x, d, padding=2)
    for i in range(4):
        dy, dx = (int(float(d[i, k]) * 5) - 2 for k in (0, 1))
        for y in range(12):
            for column in range(10):
                inside = 0 <= y + dy < 12 and 0 <= column + dx < 10
                expected = x[i, :, y + dy, column + dx] if inside else torch.zeros(3)
                assert torch.equal(out[i, :, y, column], expected)


def test_crop_reaches_every_window():
    x = torch.ones(4000, 1, 4, 4)
    out = crop(x, draws(4000), padding=1)
    rows, columns = out.sum((1, 3)), out.sum((1, 2))
    kinds = {(tuple(r), tuple(c)) for r, c in zip(rows.tolist(), columns.tolist(), strict=True)}
    assert len(kinds) == 9


def test_geometry_works_on_bytes():
    x = (images() * 255).to(torch.uint8)
    for change in (crop, flip, cutout, translate):
        assert change(x, draws()).dtype == torch.uint8


def test_the_extreme_draws():
    x = images(n=2)
    d = torch.tensor([[0.0] * DRAWS, [1 - 2**-24] * DRAWS])
    assert torch.equal(crop(x, d, padding=4)[1], TF.crop(TF.pad(x[1], [4] * 4), 8, 8, 12, 10))
    assert torch.equal(translate(x, d)[0], TF.crop(TF.pad(x[0], [1] * 4), 0, 0, 12, 10))


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0.0), (1.0, 1.0), (0.25, 0.25)])
def test_flip_probability(probability, share):
    x = torch.zeros(4000, 1, 1, 2)
    x[..., 0] = 1
    assert flip(x, draws(4000), probability=probability)[..., 1].mean() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.75])
def test_rotate_is_torchvisions_bilinear_rotation(draw):
    x = images(n=1, h=11, w=11)
    out = rotate(x, torch.full((1, DRAWS), draw), degrees=30.0)
    # torchvision turns counter-clockwise for positive angles, in the image's axes as ours for negative ones.
    angles = [(draw * 2 - 1) * 30 * sign for sign in (1, -1)]
    found = [TF.rotate(x, a, interpolation=TF.InterpolationMode.BILINEAR) for a in angles]
    assert min(float((out - f).abs().max()) for f in found) < 1e-4


def test_rotate_by_nothing():
    assert torch.allclose(rotate(images(), draws(), degrees=0.0), images(), atol=1e-6)


def test_cutout_is_one_square():
    out = cutout(torch.ones(500, 2, 12, 10), draws(500), size=4)
    holes = out[:, 0] == 0
    assert torch.equal(out[:, 0], out[:, 1])
    heights, widths = holes.any(2).sum(1), holes.any(1).sum(1)
    assert torch.equal(heights * widths, holes.sum((1, 2)))
    assert (heights.max(), widths.max(), heights.min()) == (4, 4, 2)


def test_colour_changes():
    x = torch.full((2, 1, 1, 1), 0.8)
    d = torch.tensor([[0.0] * DRAWS, [1.0] * DRAWS])
    assert brightness(x, d, strength=0.5).flatten().tolist() == pytest.approx([0.4, 1.0])
    assert contrast(x, d, strength=0.5).flatten().tolist() == pytest.approx([0.65, 0.95])


@pytest.mark.parametrize("change", [rotate, brightness, contrast])
def test_whole_numbers_where_fractions_are_needed(change):
    with pytest.raises(DataError, match=r"needs images of floats in \[0, 1\]; got torch.uint8"):
        change(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), draws(1))
