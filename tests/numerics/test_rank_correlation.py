from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from limbeck.numerics.rank_correlation import average_ranks, pearson, spearman

DRAW = torch.Generator().manual_seed(0)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12))
def test_ranks_as_scipy_has_them(values) -> None:
    assert average_ranks(torch.tensor(values, dtype=torch.float32)).tolist() == stats.rankdata(values).tolist()


@given(st.integers(2, 12), st.integers(0, 99))
def test_correlations_as_scipy_has_them(width, seed) -> None:
    draw = torch.Generator().manual_seed(seed)
    left = torch.randint(-4, 5, (3, width), generator=draw).double()
    right = torch.randn(3, width, generator=draw, dtype=torch.float64)
    for ours, theirs in ((pearson, stats.pearsonr), (spearman, stats.spearmanr)):
        for row, value in enumerate(ours(left, right).tolist()):
            if left[row].unique().numel() == 1:
                assert np.isnan(value)
            else:
                assert value == pytest.approx(theirs(left[row].numpy(), right[row].numpy()).statistic, abs=1e-12)


def test_infinite_numbers_have_a_rank() -> None:
    rows = torch.tensor([[1.0, torch.inf, torch.inf, -torch.inf], [2.0, 3.0, 4.0, 1.0]])
    assert average_ranks(rows)[0].tolist() == [2, 3.5, 3.5, 1]
    assert spearman(rows[0], rows[1]).item() == pytest.approx(0.9486832980505138)


def test_numbers_of_any_size() -> None:
    left, right = torch.randn(2, 9, generator=DRAW, dtype=torch.float64)
    value = pearson(left, right)
    for scale in (1e-200, 1e200):
        assert pearson(left * scale, right * scale).item() == pytest.approx(value.item())
    assert pearson(left, left).item() == pytest.approx(1)
    assert pearson(left, torch.full_like(left, 0.1)).isnan()
