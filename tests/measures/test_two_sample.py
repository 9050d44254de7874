from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from limbeck.errors import DataError, ShapeError
from limbeck.measures import nearest_neighbour_accuracy

DRAW = torch.Generator().manual_seed(0)
LEFT = torch.randn(40, 3, generator=DRAW, dtype=torch.float64)
RIGHT = 0.8 + torch.randn(40, 3, generator=DRAW, dtype=torch.float64)


def test_as_scikit_learn_has_it(monkeypatch) -> None:
    from limbeck.numerics import point_sets

    monkeypatch.setattr(point_sets, "BLOCK", 300)
    sides = torch.arange(80) >= 40
    theirs = cross_val_score(
        KNeighborsClassifier(1), torch.cat([LEFT, RIGHT]).numpy(), sides.numpy(), cv=LeaveOneOut()
    )
    assert nearest_neighbour_accuracy(LEFT, RIGHT) == pytest.approx(theirs.mean())


def test_copies_and_strangers() -> None:
    assert nearest_neighbour_accuracy(LEFT, LEFT + 1e-9) == 0
    assert nearest_neighbour_accuracy(LEFT, LEFT + 100) == 1
    assert nearest_neighbour_accuracy(torch.zeros(3), torch.zeros(4)) == 0.5


def test_unequal_draws_of_one_distribution_give_a_half() -> None:
    many, few = torch.randn(1500, 2, generator=DRAW), torch.randn(500, 2, generator=DRAW)
    assert nearest_neighbour_accuracy(many, few) == pytest.approx(0.5, abs=0.05)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 99))
def test_properties(n, m, seed) -> None:
    draw = torch.Generator().manual_seed(seed)
    left, right = torch.randn(n, 2, generator=draw), torch.randn(m, 2, generator=draw)
    value = nearest_neighbour_accuracy(left, right)
    assert 0 <= value <= 1
    assert nearest_neighbour_accuracy(right, left) == pytest.approx(value)
    assert nearest_neighbour_accuracy(left[torch.randperm(n, generator=draw)], right) == pytest.approx(value)


def test_errors() -> None:
    with pytest.raises(DataError, match="nearest_neighbour_accuracy: samples needs at least 2"):
        nearest_neighbour_accuracy(LEFT[:1], RIGHT)
    with pytest.raises(ShapeError, match="nearest_neighbour_accuracy"):
        nearest_neighbour_accuracy(LEFT, RIGHT[:, :2])
