from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck import seeding
from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.measures import sliced_wasserstein

DRAW = torch.Generator().manual_seed(0)
LEFT = torch.randn(60, 3, generator=DRAW, dtype=torch.float64)
RIGHT = 1 + 2 * torch.randn(45, 3, generator=DRAW, dtype=torch.float64)


def test_along_one_line_it_is_the_exact_distance() -> None:
    ours = sliced_wasserstein(LEFT[:, 0], RIGHT[:, 0])
    assert ours == pytest.approx(ot.wasserstein_1d(LEFT[:, 0].numpy(), RIGHT[:, 0].numpy(), p=2) ** 0.5)


@pytest.mark.parametrize("count", [45, 60])
def test_as_pot_has_it_on_the_same_lines(count) -> None:
    lines = torch.randn(128, 3, generator=seeding.generator(5, "projections"), dtype=torch.float64)
    lines = (lines / lines.norm(dim=1, keepdim=True)).numpy()
    theirs = ot.sliced_wasserstein_distance(LEFT[:count].numpy(), RIGHT.numpy(), projections=lines.T)
    assert sliced_wasserstein(LEFT[:count], RIGHT, seed=5) == pytest.approx(theirs, rel=1e-9)


def test_a_shift_of_gaussians_in_closed_form() -> None:
    shift = torch.tensor([3.0, 0.0, 4.0])
    # Over directions the mean square of a projection is |shift|^2 / d.
    assert sliced_wasserstein(LEFT, LEFT + shift, projections=20_000) == pytest.approx(5 / 3**0.5, rel=0.01)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 99))
def test_symmetric_zero_on_itself_and_blind_to_order(n, m, seed) -> None:
    draw = torch.Generator().manual_seed(seed)
    left, right = torch.randn(n, 2, 2, generator=draw), torch.randn(m, 2, 2, generator=draw)
    value = sliced_wasserstein(left, right, projections=8)
    assert sliced_wasserstein(left, left, projections=8) == 0
    assert sliced_wasserstein(right, left, projections=8) == pytest.approx(value)
    assert sliced_wasserstein(left[torch.randperm(n, generator=draw)], right, projections=8) == pytest.approx(
        value
    )
    # A set twice is the same distribution.
    assert sliced_wasserstein(torch.cat([left, left]), right, projections=8) == pytest.approx(value)


def test_the_seed_decides_and_blocks_do_not(monkeypatch) -> None:
    from limbeck.numerics import point_sets

    value = sliced_wasserstein(LEFT, RIGHT)
    assert sliced_wasserstein(LEFT, RIGHT, seed=1) != value
    monkeypatch.setattr(point_sets, "BLOCK", 500)
    assert sliced_wasserstein(LEFT, RIGHT) == pytest.approx(value, rel=1e-12)
    assert np.isfinite(value)


def test_errors() -> None:
    with pytest.raises(ConfigError, match="projections must be above 0"):
        sliced_wasserstein(LEFT, RIGHT, projections=0)
    with pytest.raises(DataError, match="sliced_wasserstein: reference needs at least 2 points"):
        sliced_wasserstein(LEFT, RIGHT[:1])
    with pytest.raises(ShapeError, match="sliced_wasserstein: points must have equally many numbers"):
        sliced_wasserstein(LEFT, RIGHT[:, :2])
