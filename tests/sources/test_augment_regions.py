"""Random regions: torchvision's resizing at fixed boxes, and boxes with the shares that were asked for."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as V

from limbeck.errors import DataError
from limbeck.seeding import uniforms
from limbeck.sources import random_erasing, random_resized_crop
from limbeck.sources.augment import DRAWS, more
from limbeck.sources.augment_regions import crop_boxes, resized_crop


def images(n=6, h=20, w=24):
    return torch.rand(n, 3, h, w, generator=torch.Generator().manual_seed(0))


def draws(n, seed=0):
    return uniforms(torch.arange(n), seed=seed, epoch=1, draws=DRAWS)


BOXES = torch.tensor(
    [[0, 0, 20, 24], [3, 5, 10, 7], [19, 23, 1, 1], [0, 20, 20, 4], [12, 0, 8, 24], [1, 2, 15, 17]]
)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(20, 24), (32, 30), (9, 7), (20, 8)])
def test_resizing_is_torchvisions(size, interpolation):
    got = resized_crop(images(), BOXES, size=size, interpolation=interpolation)
    for image, box, found in zip(images(), BOXES.tolist(), got, strict=True):
        wanted = V.resized_crop(image, *box, list(size), InterpolationMode(interpolation), antialias=True)
        torch.testing.assert_close(found, wanted.clamp(0, 1), rtol=0, atol=2e-5)


def test_the_whole_image_at_its_own_size_stays():
    whole = torch.tensor([[0, 0, 20, 24]]).expand(6, 4)
    for interpolation in ("bilinear", "bicubic"):
        got = resized_crop(images(), whole, size=(20, 24), interpolation=interpolation)
        torch.testing.assert_close(got, images(), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("height", "width"), [(60, 80), (30, 30), (20, 90), (90, 20)])
def test_boxes_are_distributed_as_torchvisions(height, width):
    ours = crop_boxes(draws(4000), height, width, smallest=0.08, stretch=4 / 3)
    top, left, high, wide = ours.unbind(1)
    assert bool(((top >= 0) & (left >= 0) & (high > 0) & (wide > 0)).all())
    assert bool(((top + high <= height) & (left + wide <= width)).all())
    torch.manual_seed(0)
    transform, blank = v2.RandomResizedCrop(8, antialias=True), torch.zeros(1, height, width)
    found = [transform.make_params([blank]) for _ in range(2000)]
    theirs = torch.tensor([[p[key] for key in ("top", "left", "height", "width")] for p in found])
    quantiles = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])
    for mine, other, length in zip(ours.T, theirs.T, (height, width, height, width), strict=True):
        apart = mine.float().quantile(quantiles) - other.float().quantile(quantiles)
        assert apart.abs().max() <= 0.06 * length


def test_a_size_of_ones_own():
    assert random_resized_crop(images(), draws(6), size=8).shape == (6, 3, 8, 8)
    assert random_resized_crop(images(), draws(6)).shape == (6, 3, 20, 24)
    with pytest.raises(DataError, match="at least 1"):
        random_resized_crop(images(), draws(6), stretch=0.5)


@pytest.mark.parametrize("fill", ["black", "noise"])
def test_erased_rectangles_have_the_share_that_was_asked_for(fill):
    ones = torch.full((2000, 1, 20, 20), 2.0)
    erased = random_erasing(ones, draws(2000), probability=0.5, smallest=0.1, largest=0.3, fill=fill) != 2
    share = erased.flatten(1).float().mean(1)
    assert 0.45 < float((share > 0).float().mean()) < 0.55
    assert 0.05 < float(share[share > 0].min()) <= float(share.max()) < 0.35
    rows, columns = erased.any(3).sum(2), erased.any(2).sum(2)
    assert torch.equal(rows * columns, erased.sum((2, 3)))


def test_noise_is_an_images_own():
    whole = random_erasing(images(), draws(6), probability=1.0, fill="noise")
    alone = random_erasing(images()[3:4], draws(6)[3:4], probability=1.0, fill="noise")
    assert torch.equal(whole[3:4], alone)
    with pytest.raises(DataError, match="noise needs images of floats"):
        random_erasing(images().byte(), draws(6), fill="noise")


def test_further_numbers_are_uniform_and_independent():
    found = more(draws(2000), 6)
    assert found.shape == (2000, 6)
    assert (found.mean(0) - 0.5).abs().max() < 0.03
    assert (torch.corrcoef(torch.cat((found, draws(2000)), dim=1).T) - torch.eye(14)).abs().max() < 0.1
