from __future__ import annotations

import pytest
import torch

from limbeck.errors import DataError, ShapeError
from limbeck.numerics import point_sets as module
from limbeck.numerics.point_sets import blocks_of_rows, distances, distances_within, point_sets

DRAW = torch.Generator().manual_seed(0)


def test_sets_become_rows_in_double_precision() -> None:
    left, right = point_sets("x", a=torch.zeros(3, 2, 4, dtype=torch.bfloat16), b=torch.ones(2, 8).byte())
    assert (left.shape, right.shape) == ((3, 8), (2, 8))
    assert left.dtype == right.dtype == torch.float64
    assert point_sets("x", a=torch.arange(3))[0].shape == (3, 1)
    assert not point_sets("x", a=torch.ones(3, requires_grad=True))[0].requires_grad


def test_errors_name_the_side() -> None:
    good = torch.zeros(4, 3)
    broken = torch.zeros(4, 3)
    broken[2, 1], broken[3, 0] = torch.nan, torch.inf
    with pytest.raises(DataError, match=r"x: 2 of the 4 points of b hold infinite .* the first at index 2"):
        point_sets("x", a=good, b=broken)
    with pytest.raises(DataError, match=r"x: b needs at least 2 points .* got shape \(1, 3\)"):
        point_sets("x", a=good, b=good[:1])
    with pytest.raises(DataError, match=r"a needs at least 2 points of at least 1 number, got shape \(4, 0\)"):
        point_sets("x", a=good[:, :0], b=good)
    with pytest.raises(ShapeError, match=r"a \(4, 3\) \(3 each\), b \(4, 2\) \(2 each\)"):
        point_sets("x", a=good, b=good[:, :2])
    with pytest.raises(ShapeError, match=r"a must be real numbers .*complex64"):
        point_sets("x", a=good.to(torch.complex64))
    with pytest.raises(ShapeError, match=r"a must be real numbers of shape \(n, ...\), got shape \(\)"):
        point_sets("x", a=torch.tensor(1.0))


@pytest.mark.parametrize("width", [2, 100])
def test_distances_in_blocks_are_those_at_once(width, monkeypatch) -> None:
    # Far from the origin, where a plain matrix product would lose the digits.
    left = 1e4 + torch.randn(20, width, generator=DRAW, dtype=torch.float64)
    right = 1e4 + torch.randn(7, width, generator=DRAW, dtype=torch.float64)
    wanted = (left[:, None] - right).norm(dim=2)
    monkeypatch.setattr(module, "BLOCK", 3 * 7)
    blocks = list(distances(left, right))
    assert [block.shape for _, block in blocks] == [(3, 7)] * 6 + [(2, 7)]
    torch.testing.assert_close(torch.cat([block for _, block in blocks]), wanted, rtol=1e-9, atol=1e-9)
    within = torch.cat([block for _, block in distances_within(left)])
    assert (within.diagonal() == 0).all()
    torch.testing.assert_close(within, (left[:, None] - left).norm(dim=2), rtol=1e-9, atol=1e-9)


def test_a_row_wider_than_a_block_still_comes() -> None:
    assert list(blocks_of_rows(2, 2 * module.BLOCK)) == [slice(0, 1), slice(1, 2)]
