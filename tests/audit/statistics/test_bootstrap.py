"""Numbers on resampled images."""

from __future__ import annotations

import pytest
import torch

from limbeck.audit.statistics import bootstrap
from limbeck.audit.statistics.bootstrap import replicated, weightings
from limbeck.audit.tally import Tally, share
from limbeck.errors import ShapeError


def values(seed, images=150):
    return torch.rand(images, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_every_set_has_as_many_images_as_there_are_and_the_seed_decides_which():
    drawn = torch.cat(list(weightings(40, draws=30, seed=1)))
    assert drawn.shape == (30, 40)
    assert (drawn.sum(dim=1) == 40).all()
    assert torch.equal(drawn, torch.cat(list(weightings(40, draws=30, seed=1))))
    assert not torch.equal(drawn, torch.cat(list(weightings(40, draws=30, seed=2))))


def test_memory_is_bounded_by_blocks(monkeypatch):
    monkeypatch.setattr(bootstrap, "_CELLS", 400)
    blocks = list(weightings(40, draws=25, seed=0))
    assert [len(block) for block in blocks] == [10, 10, 5]
    assert not torch.equal(blocks[0][:5], blocks[2])


def test_replicates_are_those_of_each_tally_by_itself():
    tallies = {"a": share(values(0)), "b": share(values(1), values(2) > 0.3)}
    tallies["c"] = Tally(torch.stack([values(3), values(4), values(5)], dim=1), lambda sums: sums.prod(dim=-1))
    weights = torch.cat(list(weightings(150, draws=64, seed=3)))
    for name, copies in replicated(tallies, draws=64, seed=3).items():
        assert torch.allclose(copies, tallies[name].weighted(weights), rtol=1e-12)


def test_the_spread_of_a_mean_is_the_known_one():
    copies = replicated({"a": share(values(0, 400))}, draws=4000)["a"]
    expected = values(0, 400).std(correction=0) / 400**0.5
    assert copies.std().item() == pytest.approx(expected.item(), rel=0.05)


def test_what_networks_share_cancels():
    noise = values(1) / 1000
    copies = replicated({"a": share(values(0)), "b": share(values(0) + noise)}, draws=200)
    assert (copies["a"] - copies["b"]).std() < copies["a"].std() / 100


def test_sets_that_count_nothing_are_undefined():
    once = torch.zeros(20, dtype=torch.bool)
    once[0] = True
    copies = replicated({"a": share(values(0, 20), once)}, draws=400)["a"]
    assert 0.2 < copies.isnan().double().mean() < 0.5
    assert replicated({"a": share(torch.zeros(0))}, draws=3)["a"].isnan().all()


def test_different_images_are_refused():
    with pytest.raises(ShapeError, match="a 20, b 30"):
        replicated({"a": share(values(0, 20)), "b": share(values(0, 30))})
