"""Random parts of images of many sizes, cut out while they are read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as V

from limbeck.errors import ConfigError
from limbeck.sources import Loader, Subset, folder
from limbeck.sources.decoding import Reading, _random_box, decode, decode_crop


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for number, (name, size) in enumerate(
        [("cat", (40, 30)), ("dog", (64, 48)), ("cat", (33, 50)), ("dog", (90, 60))]
    ):
        (root / name).mkdir(exist_ok=True)
        across = np.linspace(0, 255, size[0], dtype=np.uint8)[None].repeat(size[1], 0)
        down = np.linspace(0, 255, size[1], dtype=np.uint8)[:, None].repeat(size[0], 1)
        picture = np.stack([across, down, np.full_like(across, 40 * number)], axis=-1)
        Image.fromarray(picture).save(root / name / f"{number}.{'png' if number < 2 else 'jpg'}", quality=95)
    return str(root)


def batches(photos, *, workers=0, epoch=1, start=0, **settings):
    source = folder(root=photos, size=16, random_crop=0.2, test_share=0.0, **settings)
    loader = Loader(source, batch_size=2, seed=1, source_views=True, workers=workers)
    return list(loader.epoch(epoch, start=start))


def test_parts_differ_by_epoch_and_not_by_workers_or_resume(photos):
    first = batches(photos)
    assert first[0]["images"].shape == (2, 3, 16, 16)
    for again in (batches(photos, workers=2), batches(photos)):
        for a, b in zip(first, again, strict=True):
            assert all(torch.equal(a[key], b[key]) for key in a)
    assert torch.equal(batches(photos, start=1)[0]["images"], first[1]["images"])
    by_index = [
        {int(i): x for b in batches(photos, epoch=e) for i, x in zip(b["index"], b["images"], strict=True)}
        for e in (1, 2)
    ]
    assert all(not torch.equal(by_index[0][i], by_index[1][i]) for i in by_index[0])


def test_the_whole_image_is_seen_where_no_parts_are_asked_for(photos):
    source = folder(root=photos, size=16, random_crop=0.2, test_share=0.0)
    plain = next(Loader(source, batch_size=4, seed=0, shuffle=False).epoch(1))["images"]
    middle = torch.stack([folder(root=photos, size=16, test_share=0.0)[i][0] for i in range(4)]).float() / 255
    assert torch.equal(plain, middle)
    view, _ = Subset(source, [2]).view(0, [0.5] * 4)
    assert torch.equal(view, source.view(2, [0.5] * 4)[0])


def test_a_part_is_what_it_says(photos, tmp_path):
    picture = Image.fromarray(np.arange(64 * 64, dtype=np.uint32).reshape(64, 64).astype(np.uint8))
    picture.save(tmp_path / "a.png")
    whole = decode_crop(tmp_path / "a.png", Reading(size=64), [1.0, 0.5, 0.0, 0.0], smallest=0.3)
    assert np.array_equal(whole, np.asarray(picture))
    corner = decode_crop(tmp_path / "a.png", Reading(size=32), [0.0, 0.5, 1.0, 0.0], smallest=0.25)
    assert np.array_equal(corner, np.asarray(picture)[:32, 32:])


def test_large_photographs_are_decoded_small(tmp_path):
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize(
        (512, 512), Image.Resampling.BICUBIC
    )
    smooth.save(tmp_path / "a.jpg", quality=95)
    smooth.save(tmp_path / "a.png")
    draws = [0.9, 0.5, 0.5, 0.5]
    small, exact = (
        decode_crop(tmp_path / f"a.{k}", Reading(size=32), draws, smallest=0.5) for k in ("jpg", "png")
    )
    assert np.abs(small.astype(int) - exact.astype(int)).mean() < 4


def test_a_part_needs_a_size(photos):
    with pytest.raises(ConfigError, match="give size"):
        folder(root=photos, random_crop=0.1)


def test_the_middle_square_may_keep_a_share(photos):
    whole = folder(root=photos, size=16, test_share=0.0)
    inner = folder(root=photos, size=16, crop_share=0.5, interpolation="bicubic", test_share=0.0)
    assert inner.images.shape == whole.images.shape
    # a ramp from black to white, of which the middle half is kept
    assert inner.images[0, 0].float().std() < 0.7 * whole.images[0, 0].float().std()


@pytest.mark.parametrize("shape", [(40, 30), (33, 50), (50, 50), (224, 225)])
@pytest.mark.parametrize(("interpolation", "share"), [("bilinear", 1.0), ("bicubic", 0.875), ("bilinear", 0.9)])
def test_the_middle_square_is_torchvisions(tmp_path, shape, interpolation, share):
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (*shape[::-1], 3), dtype=np.uint8))
    picture.save(tmp_path / "a.png")
    ours = decode(tmp_path / "a.png", Reading(size=21, crop_share=share, interpolation=interpolation))
    mode = InterpolationMode(interpolation)
    theirs = v2.Compose([v2.Resize(int(21 / share), mode), v2.CenterCrop(21)])(picture)
    assert np.array_equal(ours, np.asarray(theirs))


def test_a_part_is_resized_as_torchvision_does(tmp_path):
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8))
    picture.save(tmp_path / "a.png")
    for draws in rng.random((20, 4)).tolist():
        left, top, across, down = _random_box(80, 60, draws, 0.08)
        assert 0 <= left <= 80 - across
        assert 0 <= top <= 60 - down
        ours = decode_crop(tmp_path / "a.png", Reading(size=32), draws, smallest=0.08)
        theirs = V.resized_crop(picture, top, left, down, across, [32, 32])
        assert np.array_equal(ours, np.asarray(theirs))


@pytest.mark.parametrize("size", [(80, 60), (30, 30), (90, 20)])
def test_parts_are_distributed_as_torchvisions(size):
    rng = np.random.default_rng(0)
    ours = np.array([_random_box(*size, draws, 0.08) for draws in rng.random((4000, 4)).tolist()])
    torch.manual_seed(0)
    transform, blank = v2.RandomResizedCrop(8, antialias=True), torch.zeros(1, size[1], size[0])
    found = [transform.make_params([blank]) for _ in range(2000)]
    theirs = np.array([[p[key] for key in ("left", "top", "width", "height")] for p in found])
    at = [0.1, 0.25, 0.5, 0.75, 0.9]
    apart = np.abs(np.quantile(ours, at, axis=0) - np.quantile(theirs, at, axis=0)).max(0)
    assert (apart <= 0.06 * np.array([*size, *size])).all()
