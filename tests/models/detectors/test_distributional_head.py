"""Sides as distributions over distances."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from limbeck.models.detectors.distributional_head import distances, distribution_focal


def test_distance_is_the_mean():
    logits = torch.log(
        torch.tensor([[[0.5, 0.5, 1e-9], [1e-9, 1e-9, 1.0], [1 / 3, 1 / 3, 1 / 3], [0.25, 0.5, 0.25]]])
    )
    torch.testing.assert_close(distances(logits), torch.tensor([[0.5, 2.0, 1.0, 1.0]]))


def test_distances_stay_in_float32_under_autocast():
    logits = 3 * torch.randn(5, 4, 17, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = distances(logits)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, distances(logits))


def test_focal_loss_is_a_mixture_of_two_cross_entropies():
    logits = torch.randn(5, 9, generator=torch.Generator().manual_seed(0))
    wanted = torch.tensor([0.0, 0.25, 3.5, 7.75, 6.0])
    left = wanted.long()
    expected = F.cross_entropy(logits, left, reduction="none") * (1 - wanted % 1)
    expected += F.cross_entropy(logits, left + 1, reduction="none") * (wanted % 1)
    torch.testing.assert_close(distribution_focal(logits, wanted), expected)


def test_focal_loss_beyond_the_last_bin():
    logits = torch.tensor([[0.0, 0.0, 30.0]])
    assert distribution_focal(logits, torch.tensor([50.0])) < 0.5


def test_minimum_is_at_the_true_distance():
    logits = torch.zeros(1, 9, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=1.0)
    for _ in range(500):
        optimizer.zero_grad()
        distribution_focal(logits, torch.tensor([3.3])).sum().backward()
        optimizer.step()
    torch.testing.assert_close(distances(logits[None])[0, 0], torch.tensor(3.3), rtol=0.02, atol=0)
