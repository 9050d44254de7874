from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.measures import density_coverage, precision_recall

DRAW = torch.Generator().manual_seed(0)
LEFT = 0.7 * torch.randn(80, 3, generator=DRAW, dtype=torch.float64)
RIGHT = 0.5 + torch.randn(60, 3, generator=DRAW, dtype=torch.float64)


def reach(points, k):
    found = NearestNeighbors(n_neighbors=k + 1).fit(points.numpy()).kneighbors(points.numpy())[0]
    return torch.from_numpy(found[:, -1])


@pytest.mark.parametrize("k", [1, 3, 5])
def test_by_definition_with_the_neighbours_of_scikit_learn(k, monkeypatch) -> None:
    from limbeck.numerics import point_sets

    monkeypatch.setattr(point_sets, "BLOCK", 700)
    away = torch.cdist(LEFT, RIGHT)
    inside = away <= reach(RIGHT, k)
    found = precision_recall(LEFT, RIGHT, neighbours=k)
    assert found.precision == inside.any(1).double().mean().item()
    assert found.recall == (away <= reach(LEFT, k)[:, None]).any(0).double().mean().item()
    dense = density_coverage(LEFT, RIGHT, neighbours=k)
    assert dense.density == pytest.approx(inside.sum().item() / (k * len(LEFT)))
    assert dense.coverage == (away.min(0).values < reach(RIGHT, k)).double().mean().item()


def test_as_torch_fidelity_has_precision_and_recall() -> None:
    library = pytest.importorskip("torch_fidelity.metric_prc")
    theirs = library.prc_features_to_metric(
        LEFT.float(), RIGHT.float(), prc_neighborhood=3, prc_batch_size=1000, verbose=False
    )
    ours = precision_recall(LEFT, RIGHT)
    assert (ours.precision, ours.recall) == pytest.approx((theirs["precision"], theirs["recall"]))


@pytest.mark.parametrize("width", [2, 90])
def test_a_set_against_itself_is_perfect(width) -> None:
    points = torch.randn(30, width, generator=DRAW)
    assert precision_recall(points, points) == (1, 1)
    density, coverage = density_coverage(points, points)
    assert coverage == 1
    assert density == pytest.approx(1)


def test_a_collapsed_sampler_is_precise_and_recalls_little() -> None:
    points = torch.randn(200, 2, generator=DRAW)
    collapsed = 0.01 * torch.randn(200, 2, generator=DRAW)
    found = precision_recall(collapsed, points)
    assert found.precision == 1
    assert found.recall < 0.05
    assert density_coverage(collapsed, points).coverage < 0.1
    assert precision_recall(points + 100, points) == (0, 0)


@given(st.integers(4, 12), st.integers(6, 12), st.integers(0, 99))
def test_properties(n, m, seed) -> None:
    draw = torch.Generator().manual_seed(seed)
    left, right = torch.randn(n, 2, generator=draw), torch.randn(m, 2, generator=draw)
    found = precision_recall(left, right)
    assert precision_recall(right, left) == found[::-1]
    order = torch.randperm(n, generator=draw)
    assert precision_recall(left[order], right) == found
    assert density_coverage(left[order], right) == density_coverage(left, right)


def test_errors() -> None:
    with pytest.raises(DataError, match="precision_recall: samples has 3 points, too few for 3 neighbours"):
        precision_recall(LEFT[:3], RIGHT)
    with pytest.raises(DataError, match="density_coverage: reference has 5 points, too few for 5"):
        density_coverage(LEFT[:3], RIGHT[:5])
    with pytest.raises(ConfigError, match="neighbours must be above 0"):
        density_coverage(LEFT, RIGHT, neighbours=0)
    with pytest.raises(ShapeError, match="precision_recall"):
        precision_recall(LEFT, RIGHT[:, :2])
