"""MixUp and CutMix: shares that add up, pure functions of their counters, alike on one process and on two."""

from __future__ import annotations

import pytest
import torch

from limbeck.errors import DataError
from limbeck.sources import Loader, Mix, digits, flip
from limbeck.sources.mixing import Mixture


@pytest.mark.parametrize("mix", [Mix(cutmix=0), Mix(mixup=0), Mix()])
def test_labels_have_the_shares_of_the_pixels(mix):
    ones, zeros = torch.ones(3, 1, 8, 10), torch.zeros(3, 1, 8, 10)
    shares = set()
    for seed in range(40):
        drawn = mix.draw(seed, 8, 10)
        mixed = drawn.images(ones, zeros)
        targets = drawn.targets(torch.tensor([0, 1, 2]), torch.tensor([2, 1, 0]), 3)
        assert float(mixed.mean()) == pytest.approx(drawn.share, abs=1e-6)
        assert float(targets[0, 0]) == pytest.approx(drawn.share, abs=1e-6)
        torch.testing.assert_close(targets.sum(1), torch.ones(3))
        assert float(targets[1, 1]) == pytest.approx(1)
        assert drawn == mix.draw(seed, 8, 10)
        shares.add(round(drawn.share, 3))
    assert len(shares) > 15


def test_a_batch_that_is_not_mixed_stays():
    images = torch.rand(2, 1, 4, 4)
    drawn = Mix(probability=0).draw(0, 4, 4)
    assert drawn == Mixture(1.0)
    assert torch.equal(drawn.images(images, images.flip(0)), images)


@pytest.mark.parametrize("settings", [{"mixup": -1}, {"probability": 2}, {"switch": -0.1}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(DataError, match="mix: "):
        Mix(**settings)


def batches(rank=0, world=1, start=0, workers=0):
    loader = Loader(
        digits(per_class=5),
        batch_size=16,
        seed=3,
        augment=[flip],
        views={"strong": [flip]},
        mix=Mix(),
        rank=rank,
        world=world,
        workers=workers,
    )
    return list(loader.epoch(2, start=start))


def test_a_mixed_batch_resumes_and_splits_exactly():
    whole = batches()
    assert whole[0]["targets"].shape == (16, 10)
    torch.testing.assert_close(whole[0]["targets"].sum(1), torch.ones(16))
    for later, same in zip(batches(start=2), whole[2:], strict=True):
        assert all(torch.equal(later[key], same[key]) for key in same)
    halves = [batches(rank=rank, world=2) for rank in (0, 1)]
    for batch, *parts in zip(whole, *halves, strict=True):
        assert set(parts[0]) == set(batch)
        for key in batch:
            torch.testing.assert_close(torch.cat([part[key] for part in parts]), batch[key])


@pytest.mark.parametrize("world", [2, 3])
def test_loader_processes_mix_alike(world):
    whole = batches()
    parts = [batches(rank=rank, world=world, workers=1) for rank in range(world)]
    for batch, *found in zip(whole, *parts, strict=True):
        for key in batch:
            assert torch.equal(torch.cat([part[key] for part in found]), batch[key])


def test_the_partner_is_the_next_of_the_batch():
    loader = Loader(digits(per_class=5), batch_size=16, seed=3, mix=Mix(cutmix=0))
    plain = Loader(digits(per_class=5), batch_size=16, seed=3)
    for mixed, batch in zip(loader.epoch(1), plain.epoch(1), strict=True):
        images, labels = batch["images"], batch["labels"]
        share = mixed["targets"][torch.arange(len(labels)), labels]
        lone = labels != labels.roll(-1)
        assert float(share[lone].std()) < 1e-6
        expected = share[lone][0] * images + (1 - share[lone][0]) * images.roll(-1, 0)
        torch.testing.assert_close(mixed["images"], expected)


def test_views_have_draws_of_their_own():
    batch = batches()[0]
    assert batch["strong"].shape == batch["images"].shape
    plain = next(Loader(digits(per_class=5), batch_size=16, seed=3).epoch(2))["images"]
    flipped = (batch["strong"] != plain).flatten(1).any(1)
    assert 0 < int(flipped.sum()) < 16
