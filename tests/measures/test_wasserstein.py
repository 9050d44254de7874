from __future__ import annotations

import ot
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import DataError, ShapeError
from limbeck.measures import sliced_wasserstein, wasserstein

DRAW = torch.Generator().manual_seed(0)
LEFT = torch.randn(50, 3, generator=DRAW, dtype=torch.float64)
RIGHT = 1 + 2 * torch.randn(50, 3, generator=DRAW, dtype=torch.float64)


def test_as_pot_has_it() -> None:
    theirs = ot.emd2([], [], ot.dist(LEFT.numpy(), RIGHT.numpy()))
    assert wasserstein(LEFT, RIGHT) == pytest.approx(float(theirs) ** 0.5)


@given(st.integers(2, 12), st.integers(1, 4), st.integers(0, 99))
def test_properties(n, width, seed) -> None:
    draw = torch.Generator().manual_seed(seed)
    left, right = torch.randn(2, n, width, generator=draw, dtype=torch.float64)
    shift = torch.randn(width, generator=draw, dtype=torch.float64)
    value = wasserstein(left, right)
    assert wasserstein(left, left) == 0
    assert wasserstein(left, left + shift) == pytest.approx(shift.norm().item())
    assert wasserstein(right, left) == pytest.approx(value)
    assert wasserstein(left[torch.randperm(n, generator=draw)], right) == pytest.approx(value)
    assert sliced_wasserstein(left, right, projections=16) <= value + 1e-9


def test_errors() -> None:
    with pytest.raises(DataError, match="got 50 samples and 49 of reference"):
        wasserstein(LEFT, RIGHT[:49])
    with pytest.raises(DataError, match=r"at most 2,000; got 2,001 samples"):
        wasserstein(torch.zeros(2001), torch.zeros(2001))
    with pytest.raises(ShapeError, match="wasserstein"):
        wasserstein(LEFT, RIGHT[:, :2])
