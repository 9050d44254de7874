"""Recovering images: batch-norm statistics and random views."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.dataset.recover import Statistics, random_view
from limbeck.errors import ModelError


def teacher() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2)
    ).eval()


def test_the_distance_is_that_of_means_and_variances():
    model, images = teacher(), torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    logits, found = Statistics(model, first_weight=10.0)(images)
    wanted, x = 0.0, images
    for weight, place in ((10.0, 0), (1.0, 2)):
        x = x if place == 0 else model[1](model[0](images))
        norm = model[place]
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        wanted += weight * ((mean - norm.running_mean).norm() + (variance - norm.running_var).norm())
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(logits, model(images))


def test_what_the_norm_has_seen_is_nowhere_from_it():
    model, images = teacher(), torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    norm = model[0]
    norm.running_mean.copy_(images.mean((0, 2, 3)))
    norm.running_var.copy_(images.var((0, 2, 3), correction=0))
    only = nn.Sequential(norm, nn.Flatten(), nn.Linear(192, 2)).eval()
    assert float(Statistics(only)(images)[1]) == pytest.approx(0, abs=1e-5)


def test_no_hook_stays_behind():
    model = teacher()
    Statistics(model)(torch.randn(2, 3, 8, 8))
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_a_norm_without_statistics_does_not_count():
    with pytest.raises(ModelError, match="no batch norm with running statistics"):
        Statistics(nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)))


def test_a_whole_view_is_the_image_or_its_mirror():
    images = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = random_view(images, crop=1.0, jitter=0, draws=torch.Generator().manual_seed(0))
    same = (found == images).flatten(1).all(1)
    mirrored = (found == images.flip(3)).flatten(1).all(1)
    assert bool((same | mirrored).all())
    assert 16 < int(same.sum()) < 48


def test_jitter_rolls_all_alike():
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    images = images + images.flip(3)
    found = random_view(images, crop=1.0, jitter=2, draws=torch.Generator().manual_seed(0))
    rolls = [
        (i, j) for i in range(-2, 3) for j in range(-2, 3) if torch.allclose(images.roll((i, j), (2, 3)), found)
    ]
    assert len(rolls) == 1


def test_crops_keep_their_size_and_carry_gradients():
    images = torch.randn(4, 3, 9, 7, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for seed in range(20):
        found = random_view(images, crop=0.08, jitter=0, draws=torch.Generator().manual_seed(seed))
        assert found.shape == images.shape
        (gradient,) = torch.autograd.grad(found.sum(), images)
        assert float(gradient.sum()) == pytest.approx(images.numel(), rel=1e-4)
