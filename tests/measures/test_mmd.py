from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import rbf_kernel

from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.measures import mmd

DRAW = torch.Generator().manual_seed(0)
LEFT = torch.randn(50, 3, generator=DRAW, dtype=torch.float64)
RIGHT = 1 + torch.randn(40, 3, generator=DRAW, dtype=torch.float64)


def by_hand(left, right, factors):
    median = torch.pdist(right).median().item()
    total = 0.0
    for factor in factors:
        gamma = 1 / (2 * (factor * median) ** 2)
        total += rbf_kernel(left, left, gamma).mean() + rbf_kernel(right, right, gamma).mean()
        total -= 2 * rbf_kernel(left, right, gamma).mean()
    return total / len(factors)


def test_against_the_kernels_of_scikit_learn() -> None:
    assert mmd(LEFT, RIGHT) == pytest.approx(by_hand(LEFT, RIGHT, (0.5, 1, 2)))
    assert mmd(LEFT, RIGHT, bandwidths=[3]) == pytest.approx(by_hand(LEFT, RIGHT, [3]))


@given(st.integers(2, 9), st.integers(3, 9), st.integers(0, 99))
def test_properties(n, m, seed) -> None:
    draw = torch.Generator().manual_seed(seed)
    left, right = torch.randn(n, 2, 1, generator=draw), torch.randn(m, 2, 1, generator=draw)
    value = mmd(left, right)
    assert 0 <= value <= 2
    assert mmd(right, right) == pytest.approx(0, abs=1e-12)
    assert mmd(left, right[torch.randperm(m, generator=draw)]) == pytest.approx(value)
    # The bandwidth follows the reference: units do not matter.
    assert mmd(8 * left, 8 * right) == pytest.approx(value)


def test_a_big_reference_gives_its_median_by_a_part(monkeypatch) -> None:
    from limbeck.measures import MEASURES

    module = __import__("sys").modules[MEASURES["mmd"].__module__]
    monkeypatch.setattr(module, "_MEDIAN_POINTS", 10)
    some, other = mmd(LEFT, RIGHT), mmd(LEFT, RIGHT, seed=1)
    assert some != other
    assert some == pytest.approx(other, rel=0.5)
    assert some == mmd(LEFT, RIGHT)


def test_errors() -> None:
    with pytest.raises(ConfigError, match="bandwidths must be numbers above 0"):
        mmd(LEFT, RIGHT, bandwidths=(1, 0))
    with pytest.raises(ConfigError, match="bandwidths"):
        mmd(LEFT, RIGHT, bandwidths=())
    with pytest.raises(DataError, match="median distance between points of reference is 0"):
        mmd(LEFT, torch.zeros(5, 3))
    with pytest.raises(ShapeError, match="mmd"):
        mmd(LEFT, RIGHT[:, :2])
