from __future__ import annotations

import math

import pytest
import torch

from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.measures import mode_coverage

ANGLE = torch.arange(8) * (math.pi / 4)
MODES = 2 * torch.stack([ANGLE.cos(), ANGLE.sin()], dim=1)


def test_samples_of_all_modes_and_of_some() -> None:
    draw = torch.Generator().manual_seed(0)
    which = torch.randint(8, (2000,), generator=draw)
    samples = (MODES[which] + 0.1 * torch.randn(2000, 2, generator=draw)).view(-1, 2, 1, 1)
    found = mode_coverage(samples, MODES, radius=0.3)
    assert found.covered == 1
    # The part of a Gaussian of the plane within three standard deviations.
    assert found.quality == pytest.approx(1 - math.exp(-4.5), abs=0.01)
    some = mode_coverage(samples[which < 2], MODES, radius=0.3)
    assert some.covered == 0.25
    assert some.counts[2:].sum() == 0
    assert some.counts.sum().item() == round(some.quality * int((which < 2).sum()))


def test_a_mode_may_need_more_than_one_sample() -> None:
    samples = torch.cat([MODES, MODES[:3]])
    assert mode_coverage(samples, MODES, radius=0.1, least=2).covered == 3 / 8
    assert mode_coverage(samples, MODES, radius=0.1).counts.tolist() == [2, 2, 2, 1, 1, 1, 1, 1]
    assert mode_coverage(0 * samples, MODES, radius=0.1)[:2] == (0, 0)


def test_errors() -> None:
    with pytest.raises(ConfigError, match="radius must be above 0"):
        mode_coverage(MODES, MODES, radius=0)
    with pytest.raises(ShapeError, match="mode_coverage"):
        mode_coverage(MODES, MODES[:, :1], radius=1)
    with pytest.raises(DataError, match="points of samples hold infinite"):
        mode_coverage(MODES / 0, MODES, radius=1)
