from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.measures import mutual_knn, mutual_knn_chance, procrustes_distance, rsa


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(4, 16), st.integers(2, 24), st.integers(2, 24), st.integers(0, 99))
def test_identities(n, width, other, seed) -> None:
    x, y = drawn(n, width, seed=seed), drawn(n, other, seed=seed + 1000)
    turn = torch.linalg.qr(drawn(width, width, seed=seed + 2000)).Q
    turned = 3 * x @ turn + 1
    assert procrustes_distance(x, turned) == pytest.approx(0, abs=1e-9)
    assert procrustes_distance(turned, y) == pytest.approx(procrustes_distance(x, y), abs=1e-9)
    assert 0 <= procrustes_distance(x, y) <= 2
    assert rsa(x, 3 * x + 1) == pytest.approx(1)
    assert mutual_knn(x, turned, k=2) == 1
    for measure in (procrustes_distance, rsa, lambda a, b: mutual_knn(a, b, k=3)):
        assert measure(x, y) == pytest.approx(measure(y, x), abs=1e-9)


def test_procrustes_as_scipy_has_it() -> None:
    x, y = drawn(20, 5), drawn(20, 5, seed=1)
    # That one scales the second set to fit as well: its disparity is 1 - s^2 for the sum s of singular values.
    disparity = procrustes(x.numpy(), y.numpy())[2]
    assert procrustes_distance(x, y) == pytest.approx(2 - 2 * math.sqrt(1 - disparity))


def test_procrustes_root_is_a_metric() -> None:
    for seed in range(20):
        sides = [drawn(9, 4, seed=3 * seed + i) for i in range(3)]
        a, b, c = (math.sqrt(procrustes_distance(sides[i], sides[(i + 1) % 3])) for i in range(3))
        assert a <= b + c + 1e-12


def test_rsa_as_scipy_has_it() -> None:
    x, y = drawn(15, 6), drawn(15, 40, seed=1)
    theirs = spearmanr(pdist(x.numpy(), "correlation"), pdist(y.numpy(), "correlation")).statistic
    assert rsa(x, y) == pytest.approx(theirs)
    assert rsa(x.view(15, 2, 3), y) == rsa(x, y)


def test_neighbours_of_strangers() -> None:
    x, y = drawn(600, 8), drawn(600, 8, seed=1)
    assert mutual_knn_chance(600, k=20) == pytest.approx(20 / 599)
    assert mutual_knn(x, y, k=20) == pytest.approx(20 / 599, abs=0.006)
    assert mutual_knn(x[:9], y[:9], k=8) == 1


def test_what_cannot_be_told() -> None:
    x, still = drawn(6, 3), torch.full((6, 3), 0.1)
    assert math.isnan(procrustes_distance(x, still))
    assert math.isnan(rsa(x, still))
    assert math.isnan(rsa(x, x[:, :1]))


def test_errors() -> None:
    x = drawn(6, 3)
    for measure in (procrustes_distance, rsa, mutual_knn):
        with pytest.raises(ShapeError, match=f"{measure.__name__}: the rows"):
            measure(x, x[:5])
        with pytest.raises(DataError, match=f"{measure.__name__}: y: 3 of the 3"):
            measure(x, x / 0)
    for k in (0, 6):
        with pytest.raises(ConfigError, match="between 1 and 5 for 6 images"):
            mutual_knn(x, x, k=k)
    with pytest.raises(DataError, match="at least 3 images"):
        rsa(x[:2], x[:2])
