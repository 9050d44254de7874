import pytest
import torch
from torchvision.transforms.v2 import functional as TF

from limbeck.audit.corruptions.filters import smoothed
from limbeck.audit.transforms import colour_change, crop_pair, phase_swap, rotated, scaled, shift_pair
from limbeck.audit.transforms.interventions import INTERVENTIONS
from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.seeding import generator

SHAPES = [(3, 32, 32), (1, 8, 8), (3, 11, 17)]
CHANGES = {
    "colour": lambda x, i: (colour_change(x, i, seed=1, strength=0.5, hue=0.3),),
    "crops": lambda x, i: crop_pair(x, i, seed=1, area=0.5),
    "shifts": lambda x, i: shift_pair(x, i, seed=1, pixels=3),
    "rotation": lambda x, i: (rotated(x, i, seed=1, degrees=25),),
    "near": lambda x, i: (scaled(x, i, seed=1, factor=1.4),),
    "far": lambda x, i: (scaled(x, i, seed=1, factor=0.6),),
}


def pictures(count, shape):
    return torch.rand(count, *shape, generator=generator(4, "pictures"))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CHANGES)
def test_same_image_in_any_batch(name, shape):
    images, index = pictures(30, shape), torch.arange(30) * 3
    whole = CHANGES[name](images, index)
    part = CHANGES[name](images[7:9], index[7:9])
    for view, same in zip(whole, part, strict=True):
        assert view.shape == images.shape
        assert view.min() >= 0
        assert view.max() <= 1
        assert torch.equal(view[7:9], same)
        assert not torch.equal(view, images)


def test_strength_zero_gives_the_images_back():
    images, index = pictures(9, (3, 12, 12)), torch.arange(9)
    views = [
        colour_change(images, index, seed=0, strength=0, hue=0),
        *crop_pair(images, index, seed=0, area=1),
        *shift_pair(images, index, seed=0, pixels=0),
        rotated(images, index, seed=0, degrees=0),
        scaled(images, index, seed=0, factor=1),
    ]
    assert all(torch.equal(view, images) for view in views)


def test_colours_change_as_in_torchvision_in_different_orders():
    images, index = pictures(60, (3, 6, 6)), torch.arange(60)
    hue = colour_change(images, index, seed=0, strength=0, hue=0.2)
    both = colour_change(images, index, seed=0, strength=0.6, hue=0.2)
    assert (hue - both).abs().amax(dim=(1, 2, 3)).min() > 0
    # Hue alone: some turn in the allowed range gives torchvision's picture.
    turns = torch.linspace(-0.2, 0.2, 801).tolist()
    errors = [(TF.adjust_hue(images[0], turn) - hue[0]).abs().max().item() for turn in turns]
    assert min(errors) < 5e-3
    assert colour_change(images[:, :1], index, seed=0).shape == (60, 1, 6, 6)


def test_crops_cover_their_share():
    # Of a ramp from 0 to 1 a crop shows a part as long as its side.
    ramp = torch.arange(64, dtype=torch.float64).expand(64, 64) / 64
    images = torch.stack([ramp, ramp.T]).expand(50, 2, 64, 64)
    first, second = crop_pair(images, torch.arange(50), seed=0, area=0.3)
    for view in (first, second):
        wide = (view[:, 0, :, 40] - view[:, 0, :, 20]).mean(dim=1) * 64 / 20
        high = (view[:, 1, 40] - view[:, 1, 20]).mean(dim=1) * 64 / 20
        torch.testing.assert_close(wide * high, torch.full((50,), 0.3, dtype=torch.float64), rtol=1e-5, atol=0)
        assert wide.std() > 0.01
    assert not torch.equal(first, second)


def test_shifts_reach_as_far_as_allowed_and_mirror():
    images = torch.arange(400.0).view(1, 1, 20, 20).expand(300, 1, 20, 20) / 400
    first, second = shift_pair(images, torch.arange(300), seed=0, pixels=4)
    away = ((second - first)[:, 0, 10, 10] * 400).round().long()
    down = torch.div(away + 10, 20, rounding_mode="floor")
    right = away - 20 * down
    assert set(down.tolist()) == set(right.tolist()) == set(range(-4, 5))
    with pytest.raises(ConfigError, match="can be shifted"):
        shift_pair(images, torch.arange(300), seed=0, pixels=40)


def test_rotation_turns_both_ways_and_comes_near_torchvision():
    images = smoothed(pictures(20, (3, 32, 32)), 2.0)
    found = rotated(images, torch.arange(20), seed=0, degrees=20)
    sides = [
        torch.stack([TF.rotate(x, angle, TF.InterpolationMode.BILINEAR) for x in images]) for angle in (-20, 20)
    ]
    middle = slice(8, 24)
    errors = torch.stack([(found - side)[:, :, middle, middle].abs().amax(dim=(1, 2, 3)) for side in sides])
    assert errors.min(dim=0).values.max() < 0.01
    assert set(errors.argmin(dim=0).tolist()) == {0, 1}


def test_scaling_enlarges_and_surrounds():
    images = smoothed(pictures(2, (1, 32, 32)), 2.0)
    near = scaled(images, torch.arange(2), seed=0, factor=2.0)
    expected = torch.nn.functional.interpolate(images[:, :, 8:24, 8:24], scale_factor=2, mode="bilinear")
    torch.testing.assert_close(near[:, :, 2:-2, 2:-2], expected[:, :, 2:-2, 2:-2])
    far = scaled(images, torch.arange(2), seed=0, factor=0.5)
    assert torch.equal(far[:, :, 8 + 3], far[:, :, 8 - 3])
    with pytest.raises(ConfigError, match=r"at least 0\.5"):
        scaled(images, torch.arange(2), seed=0, factor=0.4)


def test_phase_swap_with_itself_and_of_amplitudes():
    images = pictures(3, (3, 16, 16))
    torch.testing.assert_close(phase_swap(images, images), images)
    grey = torch.full_like(images, 0.25)
    torch.testing.assert_close(phase_swap(images, grey), grey)
    with pytest.raises(ShapeError, match="one shape"):
        phase_swap(images, images[:2])


def test_interventions_change_what_they_say():
    images, others, index = pictures(4, (3, 12, 12)), torch.full((4, 3, 12, 12), 2.0), torch.arange(4)
    grey = INTERVENTIONS["grey"](images, index, others, seed=0)
    assert torch.equal(grey[:, 0], grey[:, 2])
    centre = INTERVENTIONS["centre"](images, index, others, seed=0)
    assert (centre != images).all(dim=1).sum() == 4 * 36
    patch = INTERVENTIONS["patch"](images, index, others, seed=0)
    assert (patch == 2).all(dim=1).sum() == 4 * 25
    background = INTERVENTIONS["background"](images, index, others, seed=0)
    assert (background == 2).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(background[:, :, 4:8, 4:8], images[:, :, 4:8, 4:8])


def test_refuses_what_it_cannot_change():
    images, index = pictures(2, (3, 8, 8)), torch.arange(2)
    for change in CHANGES.values():
        with pytest.raises(DataError, match="floats"):
            change((images * 255).byte(), index)
        with pytest.raises(ShapeError):
            change(images[0], index)
        with pytest.raises(ShapeError, match="as many numbers"):
            change(images, index[:1])
    with pytest.raises(ConfigError, match="area"):
        crop_pair(images, index, seed=0, area=0)
    with pytest.raises(ConfigError, match="half the circle"):
        colour_change(images, index, seed=0, hue=0.7)
