"""Randomness is a pure function of seed and counters."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.seeding import derive, permutation, seed_everything, uniforms


@given(seed=st.integers(0, 2**31), epoch=st.integers(1, 500), cut=st.integers(1, 63))
def test_a_sample_has_the_same_draws_in_any_batch(seed, epoch, cut):
    index = torch.arange(64)
    whole = uniforms(index, seed=seed, epoch=epoch, draws=3)
    parts = torch.cat([uniforms(part, seed=seed, epoch=epoch, draws=3) for part in (index[:cut], index[cut:])])
    assert torch.equal(whole, parts)
    assert 0 <= float(whole.min()) <= float(whole.max()) < 1


def test_draws_are_uniform_and_unrelated():
    draws = uniforms(torch.arange(50_000), seed=3, epoch=2, draws=4)
    other = uniforms(torch.arange(50_000), seed=3, epoch=3, draws=4)
    assert torch.allclose(draws.mean(0), torch.full((4,), 0.5), atol=0.01)
    assert torch.allclose(draws.var(0), torch.full((4,), 1 / 12), atol=0.002)
    table = torch.corrcoef(torch.cat([draws, other, draws.roll(1, 0)], dim=1).T) - torch.eye(12)
    assert float(table.abs().max()) < 0.03


def test_purposes_seeds_and_epochs_do_not_share_numbers():
    seeds = {derive(s, p, e) for s in range(10) for p in ("order", "weights") for e in range(10)}
    assert len(seeds) == 200
    assert not torch.equal(permutation(100, 0, 1), permutation(100, 0, 2))
    assert torch.equal(permutation(100, 0, 1).sort().values, torch.arange(100))


def test_seeding_everything_repeats_dropout():
    seed_everything(0, "step", 3)
    first = torch.rand(4)
    torch.rand(100)
    seed_everything(0, "step", 3)
    assert torch.equal(torch.rand(4), first)
