from __future__ import annotations

import torch
from sklearn.neighbors import NearestNeighbors

from limbeck.numerics import point_sets
from limbeck.numerics.neighbours import nearest, shared_neighbours

DRAW = torch.Generator().manual_seed(0)
ROWS, OTHER = (torch.randn(30, width, generator=DRAW, dtype=torch.float64) for width in (3, 70))


def test_as_scikit_learn_has_them(monkeypatch) -> None:
    for rows in (ROWS, OTHER):
        theirs = NearestNeighbors(n_neighbors=4).fit(rows.numpy()).kneighbors(return_distance=False)
        assert nearest(rows, k=4).tolist() == theirs.tolist()
    monkeypatch.setattr(point_sets, "BLOCK", 7 * 30)
    assert nearest(ROWS, k=29).sort(dim=1).values.tolist() == [[j for j in range(30) if j != i] for i in range(30)]


def test_shared() -> None:
    ours, theirs = nearest(ROWS, k=4), nearest(OTHER, k=4)
    wanted = [len(set(a) & set(b)) / 4 for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)]
    assert shared_neighbours(ROWS, OTHER, k=4).tolist() == wanted
    assert (shared_neighbours(ROWS, OTHER, k=29) == 1).all()
