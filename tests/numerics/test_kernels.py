from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import DataError, ShapeError
from limbeck.numerics import kernels
from limbeck.numerics.kernels import (
    aligned,
    centred_gram,
    feature_gram,
    feature_rows,
    linear_gram,
    rbf_gram,
    u_centred_gram,
)

DRAW = torch.Generator().manual_seed(0)


@given(st.integers(4, 12), st.integers(1, 6), st.integers(0, 99))
def test_unbiased_centring_gives_the_three_terms(n, width, seed) -> None:
    draw = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(n, width, generator=draw, dtype=torch.float64) for _ in range(2))
    k, m = (linear_gram(x).fill_diagonal_(0) for x in (left, right))
    one = torch.ones(n, dtype=torch.float64)
    wanted = (k @ m).trace() + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    wanted = wanted - 2 / (n - 2) * (one @ k @ m @ one)
    found = (u_centred_gram(linear_gram(left)) * u_centred_gram(linear_gram(right))).sum()
    torch.testing.assert_close(found, wanted)
    moved = u_centred_gram(linear_gram(left + 3))
    torch.testing.assert_close(moved, u_centred_gram(linear_gram(left)), atol=1e-9, rtol=1e-7)


def test_biased_centring() -> None:
    gram = linear_gram(torch.randn(7, 3, generator=DRAW, dtype=torch.float64))
    around = torch.eye(7, dtype=torch.float64) - 1 / 7
    torch.testing.assert_close(centred_gram(gram), around @ gram @ around)


def test_nothing_given_is_changed() -> None:
    gram = torch.ones(5, 5)
    u_centred_gram(gram)
    centred_gram(gram)
    assert (gram == 1).all()


@pytest.mark.parametrize("n", [4, 5])
def test_gaussian_kernel_by_loops(n) -> None:
    rows = torch.randn(n, 3, generator=DRAW, dtype=torch.float64)
    squares = (rows[:, None] - rows).square().sum(dim=2).numpy()
    for median, counted in (("all", squares), ("nonzero", squares[squares > 0])):
        wanted = np.exp(-squares / (2 * 0.7**2 * np.median(counted)))
        torch.testing.assert_close(rbf_gram(rows, width=0.7, median=median), torch.from_numpy(wanted))


def test_gaussian_kernel_of_one_image_many_times() -> None:
    assert rbf_gram(torch.zeros(4, 2, dtype=torch.float64)).isnan().all()
    assert rbf_gram(torch.zeros(4, 2, dtype=torch.float64), median="nonzero").isnan().all()


def test_rows() -> None:
    features = torch.randn(5, 2, 3, 3, generator=DRAW)
    features[:, 0, 0, 0] = 0.1
    rows = feature_rows("me", 1e4 + features)
    assert rows.shape == (5, 18)
    assert rows.dtype == torch.float64
    assert (rows[:, 0] == 0).all()
    torch.testing.assert_close(rows.mean(dim=0), torch.zeros(18, dtype=torch.float64), atol=1e-12, rtol=0)
    with pytest.raises(DataError, match=r"me: needs at least 4 images .* \(3, 2\)"):
        feature_rows("me", torch.zeros(3, 2), least=4)
    with pytest.raises(DataError, match="me: 1 of the 2 features"):
        feature_rows("me", torch.tensor([[0.0, 1.0], [torch.nan, 1.0]]))
    with pytest.raises(ShapeError, match="complex64"):
        feature_rows("me", torch.zeros(3, 2, dtype=torch.complex64))


def test_inner_products_a_few_columns_at_a_time(monkeypatch) -> None:
    features = 50 + torch.randn(6, 5, 4, generator=DRAW)
    wanted = linear_gram(feature_rows("me", features))
    for block in (1, 6 * 7, 1 << 18):
        monkeypatch.setattr(kernels, "BLOCK", block)
        torch.testing.assert_close(feature_gram("me", features), wanted)
        with pytest.raises(DataError, match="me: 1 of the 2 features"):
            feature_gram("me", torch.tensor([[0.0, 1.0], [torch.inf, 1.0]]))
    given = features.double()
    same = given.clone()
    feature_gram("me", given)
    feature_rows("me", given)
    assert torch.equal(given, same)
    with pytest.raises(DataError, match=r"at least 2 images .* \(1, 2\)"):
        feature_gram("me", torch.zeros(1, 2))


def test_alignment_that_cannot_be_told() -> None:
    one, nothing, below = torch.tensor(1.0), torch.tensor(0.0), torch.tensor(-1.0)
    assert aligned(one, one, one) == 1
    for other in (nothing, below, torch.tensor(torch.nan)):
        assert aligned(one, one, other).isnan()
        assert aligned(one, other, one).isnan()
