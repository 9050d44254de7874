from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import energy_distance as scipys

from limbeck.errors import DataError, ShapeError
from limbeck.measures import energy_distance

DRAW = torch.Generator().manual_seed(0)
LEFT = torch.randn(50, 3, generator=DRAW, dtype=torch.float64)
RIGHT = 1 + torch.randn(40, 3, generator=DRAW, dtype=torch.float64)


def test_by_definition_and_as_scipy_in_one_dimension() -> None:
    def mean(a, b):
        return (a[:, None] - b).norm(dim=2).mean().item()

    wanted = 2 * mean(LEFT, RIGHT) - mean(LEFT, LEFT) - mean(RIGHT, RIGHT)
    assert energy_distance(LEFT, RIGHT) == pytest.approx(wanted, rel=1e-12)
    assert energy_distance(LEFT[:, 0], RIGHT[:, 0]) == pytest.approx(scipys(LEFT[:, 0], RIGHT[:, 0]) ** 2)


@given(st.integers(2, 9), st.integers(2, 9), st.sampled_from([1, 3, 70]), st.integers(0, 99))
def test_properties(n, m, width, seed) -> None:
    draw = torch.Generator().manual_seed(seed)
    left, right = torch.randn(n, width, generator=draw), torch.randn(m, width, generator=draw)
    value = energy_distance(left, right)
    assert value >= 0
    assert energy_distance(left, left) == pytest.approx(0, abs=1e-6)
    assert energy_distance(right, left) == pytest.approx(value, abs=1e-9)
    assert energy_distance(left[torch.randperm(n, generator=draw)], right) == pytest.approx(value, abs=1e-9)
    assert energy_distance(4 * left, 4 * right) == pytest.approx(4 * value, rel=1e-6, abs=1e-6)
    assert energy_distance(left + 3, right + 3) == pytest.approx(value, rel=1e-4, abs=1e-5)


def test_errors() -> None:
    with pytest.raises(DataError, match="energy_distance: samples needs at least 2 points"):
        energy_distance(LEFT[:1], RIGHT)
    with pytest.raises(DataError, match="points of reference hold infinite"):
        energy_distance(LEFT, RIGHT / 0)
    with pytest.raises(ShapeError, match="energy_distance"):
        energy_distance(LEFT, RIGHT[:, :2])
