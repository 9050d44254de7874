"""Sums over the objects of each image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from limbeck.audit.detectors.sums import correlation, kappa, partners, share_of_objects


@pytest.fixture
def draw():
    return torch.Generator().manual_seed(1)


def test_kappa_is_agreement_beyond_chance(draw):
    first, second = torch.randint(0, 3, (2, 200), generator=draw)
    mixed = torch.where(torch.rand(200, generator=draw) < 0.5, first, second)
    owner = torch.arange(200) // 7
    found = kappa(first, mixed, 3, owner, 40).value
    agreed = float((first == mixed).double().mean())
    expected = sum(float((first == c).double().mean() * (mixed == c).double().mean()) for c in range(3))
    assert found == pytest.approx((agreed - expected) / (1 - expected), rel=1e-12)


def test_kappa_without_an_answer_does_not_count():
    first, second = torch.tensor([0, 1, -1, 1]), torch.tensor([0, 1, 0, -1])
    tally = kappa(first, second, 2, torch.tensor([0, 0, 1, 1]), 2)
    assert tally.value == 1
    assert tally.count == 1


def test_kappa_of_one_answer_throughout_is_unknown():
    assert math.isnan(kappa(torch.ones(3).long(), torch.ones(3).long(), 2, torch.arange(3), 3).value)


def test_correlation_is_that_of_numpy(draw):
    first = torch.randn(50, 2, generator=draw).double()
    second = first + torch.randn(50, 2, generator=draw)
    wanted = np.mean([np.corrcoef(first[:, j], second[:, j])[0, 1] for j in range(2)])
    first = torch.cat([first, torch.full((1, 2), math.nan)])
    second = torch.cat([second, torch.ones(1, 2)])
    assert correlation(first, second, torch.arange(51) // 5, 11).value == pytest.approx(wanted, rel=1e-9)


def test_an_image_drawn_twice_counts_its_objects_twice():
    tally = share_of_objects(torch.tensor([1.0, 0.0, 1.0, math.nan]), torch.tensor([0, 0, 1, 1]), 3)
    assert tally.value == pytest.approx(2 / 3)
    assert tally.weighted(torch.tensor([[2.0, 1.0, 1.0]])).item() == pytest.approx(3 / 5)
    assert tally.count == 2


def test_partners_share_the_group_and_not_the_image():
    groups, owner = torch.tensor([0, 0, 0, 0, 1, 2, 2]), torch.tensor([0, 0, 1, 1, 1, 2, 2])
    other = partners(groups, owner)
    there = other >= 0
    assert there.tolist() == [True] * 4 + [False] * 3
    assert bool((groups[other[there]] == groups[there]).all())
    assert bool((owner[other[there]] != owner[there]).all())
