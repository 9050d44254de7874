"""Differentiable Siamese augmentation: recorded values and gradients, and that a draw can be replayed."""

from __future__ import annotations

import pytest
import torch

from limbeck.dataset import dsa
from limbeck.errors import ConfigError

SINGLE = ("flip", "scale", "rotate", "brightness", "saturation", "contrast", "crop", "cutout")


@pytest.mark.parametrize("siamese", ["", "_siamese"])
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("family", SINGLE)
def test_families_agree_with_the_recorded_programs(golden, close, family, number, siamese):
    params, a = golden(f"dsa_{family}_{number}{siamese}")
    numbers = tuple(a[key] for key in sorted(k for k in a if k.startswith("draw")))
    if siamese:
        numbers = tuple(n[:1] for n in numbers)
    images = a["x"].requires_grad_(True)
    found = dsa.apply(images, dsa.Draw(family, numbers))
    close(found, a["y"], params)
    (gradient,) = torch.autograd.grad((found * a["w"]).sum(), images)
    close(gradient, a["grad_x"], params)


@pytest.mark.parametrize("family", [*SINGLE, "color"])
def test_draws_are_replayed_and_one_for_all_where_siamese(family):
    images = torch.rand(5, 3, 8, 8)
    drawn = dsa.draw(family, images.shape, generator=torch.Generator().manual_seed(3))
    assert torch.equal(dsa.apply(images, drawn), dsa.apply(images, drawn))
    assert all(len(n) == 5 for n in drawn.numbers)
    alike = dsa.draw(family, images.shape, generator=torch.Generator().manual_seed(3), siamese=True)
    same = dsa.apply(images[:1].expand(4, 3, 8, 8), alike)
    assert all(torch.equal(same[0], image) for image in same)


def test_one_family_of_the_strategy_is_drawn():
    generator = torch.Generator().manual_seed(0)
    seen = {dsa.draw(dsa.STRATEGY, (2, 3, 8, 8), generator=generator).family for _ in range(100)}
    assert seen == set(dsa.STRATEGY.split("_"))


def test_no_strategy_changes_nothing():
    images = torch.rand(2, 1, 4, 4)
    assert dsa.augment(images, "", generator=torch.Generator()) is images


def test_an_unknown_family_is_named():
    with pytest.raises(ConfigError, match=r"'crob' in 'color_crob'.*Did you mean 'crop'"):
        dsa.families("color_crob")
