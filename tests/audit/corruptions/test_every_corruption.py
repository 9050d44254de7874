import io

import numpy as np
import pytest
import torch
from PIL import Image

from limbeck.audit import corruptions
from limbeck.audit.corruptions import CORRUPTIONS, STANDARD
from limbeck.audit.corruptions.blur import _jumbled
from limbeck.audit.corruptions.filters import disc, filtered, magnified, smoothed, streaked
from limbeck.errors import ConfigError, DataError, ShapeError, UnknownNameError
from limbeck.seeding import generator, uniforms

SIZES = [(3, 32, 32), (1, 28, 28), (1, 8, 8), (3, 20, 33), (3, 64, 64)]


def photographs(count, shape, seed=0):
    noise = torch.rand(count, *shape, generator=generator(seed, "photographs"))
    smooth = smoothed(noise, min(shape[1:]) / 12, mirrored=True)
    low, high = smooth.amin(dim=(1, 2, 3), keepdim=True), smooth.amax(dim=(1, 2, 3), keepdim=True)
    return ((smooth - low) / (high - low) * 255).round() / 255


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_same_image_in_any_batch(name, shape):
    images, index = photographs(5, shape), torch.tensor([3, 8, 1, 40, 7])
    corrupt = CORRUPTIONS[name]
    for severity in (1, 5) if shape[1] > 48 else (1, 2, 3, 4, 5):
        whole = corrupt(images, index, severity=severity, seed=2)
        assert whole.shape == images.shape
        assert whole.dtype == images.dtype
        assert bool(whole.isfinite().all())
        assert whole.min() >= 0
        assert whole.max() <= 1
        assert torch.equal((whole * 255).round() / 255, whole)
        assert torch.equal(corrupt(images[2:4], index[2:4], severity=severity, seed=2), whole[2:4])
    if shape[0] == 3 or name != "saturate":
        assert not torch.equal(whole, images)


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_the_highest_severity_changes_more_than_the_lowest(name):
    images = photographs(40, (3, 32, 32))
    corrupt, index = CORRUPTIONS[name], torch.arange(40)
    change = [(corrupt(images, index, severity=s, seed=0) - images).pow(2).mean().item() for s in (1, 5)]
    if name in ("elastic_transform", "saturate"):  # their lowest severities are other changes, not smaller ones
        assert min(change) > 0
    else:
        assert change[1] > change[0]


def test_fifteen_are_standard():
    assert len(STANDARD) == 15
    assert set(CORRUPTIONS) - set(STANDARD) == {"speckle_noise", "gaussian_blur", "spatter", "saturate"}


def test_noise_has_its_moments():
    grey, index = torch.full((200, 1, 16, 16), 102 / 255), torch.arange(200)
    found = corruptions.gaussian_noise(grey, index, severity=5, seed=1)
    assert found.mean().item() == pytest.approx(0.4, abs=2e-3)
    assert found.std().item() == pytest.approx(0.1, abs=2e-3)
    found = corruptions.shot_noise(grey, index, severity=5, seed=1)
    assert found.mean().item() == pytest.approx(0.4, abs=2e-3)
    assert found.std().item() == pytest.approx((0.4 / 50) ** 0.5, abs=2e-3)
    found = corruptions.impulse_noise(grey, index, severity=5, seed=1)
    assert (found == 0).float().mean().item() == pytest.approx(0.035, abs=5e-3)
    assert (found == 1).float().mean().item() == pytest.approx(0.035, abs=5e-3)
    black = torch.zeros(2, 1, 16, 16)
    assert torch.equal(corruptions.shot_noise(black, index[:2], severity=5, seed=1), black)
    assert torch.equal(corruptions.speckle_noise(black, index[:2], severity=5, seed=1), black)


def test_jpeg_and_pixelate_are_what_pillow_does():
    images = photographs(3, (3, 32, 32))
    given = [Image.fromarray((x * 255).byte().permute(1, 2, 0).numpy()) for x in images]
    small = corruptions.pixelate(images, torch.arange(3), severity=5, seed=0)
    jpeg = corruptions.jpeg_compression(images, torch.arange(3), severity=3, seed=0)
    for row, picture in enumerate(given):
        box = picture.resize((20, 20), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BOX)
        assert np.abs((small[row] * 255).permute(1, 2, 0).numpy() - np.asarray(box)).max() <= 1
        stored = io.BytesIO()
        picture.save(stored, "JPEG", quality=58)
        with Image.open(io.BytesIO(stored.getvalue())) as read:
            assert np.array_equal((jpeg[row] * 255).round().permute(1, 2, 0).numpy(), np.asarray(read))


def test_blurs_keep_a_constant_image():
    images = torch.full((2, 3, 32, 32), 0.6)
    for name in ("defocus_blur", "gaussian_blur", "glass_blur", "motion_blur", "zoom_blur", "elastic_transform"):
        assert torch.equal(CORRUPTIONS[name](images, torch.arange(2), severity=5, seed=0), images), name


@pytest.mark.parametrize(("reach", "rounds"), [(1, 1), (2, 3), (4, 2)])
def test_glass_is_what_copying_one_pixel_after_the_other_gives(reach, rounds):
    height, width = 12, 15
    found = _jumbled(torch.zeros(1, 1, height, width), torch.tensor([5]), reach, rounds, 3)[0].tolist()
    place = list(range(height * width))
    for turn in range(rounds):
        draws = uniforms(torch.tensor([5]), seed=3, epoch=turn + 1, draws=2 * height * width)[0]
        offset = ((draws * 2 * reach).long() - reach).tolist()
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                here = row * width + column
                place[here] = place[here + offset[here] * width + offset[height * width + here]]
    assert found == place


def test_a_streak_goes_the_way_of_its_angle():
    point = torch.zeros(2, 1, 9, 9)
    point[:, :, 4, 4] = 1
    found = streaked(point, torch.tensor([0.0, 90.0]), radius=2, sigma=2)
    assert found[0, 0, 4].count_nonzero() == found[0].count_nonzero() == 5
    assert found[1, 0, :, 4].count_nonzero() == found[1].count_nonzero() == 5


def test_filters():
    assert disc(3, 0.1).sum().item() == pytest.approx(1)
    images = photographs(2, (1, 12, 10)).double()
    kernel = torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, 0, 0]])
    torch.testing.assert_close(filtered(images, kernel)[..., :-1], images[..., 1:])
    torch.testing.assert_close(filtered(images, kernel)[..., -1], images[..., -2])
    torch.testing.assert_close(magnified(images, 1.0), images)


def test_refuses_what_it_cannot_corrupt():
    images, index = photographs(2, (3, 8, 8)), torch.arange(2)
    with pytest.raises(ConfigError, match="severity is 1, 2, 3, 4 or 5; got 6"):
        corruptions.fog(images, index, severity=6, seed=0)
    with pytest.raises(DataError, match="floats"):
        corruptions.fog((images * 255).byte(), index, severity=1, seed=0)
    with pytest.raises(ShapeError, match="1 or 3 channels"):
        corruptions.fog(images[:, :2], index, severity=1, seed=0)
    with pytest.raises(ShapeError, match="as many numbers"):
        corruptions.fog(images, index[:1], severity=1, seed=0)
    with pytest.raises(UnknownNameError, match="unknown corruption 'fogg'"):
        CORRUPTIONS["fogg"]
