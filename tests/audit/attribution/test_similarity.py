from __future__ import annotations

import pytest
import torch

from limbeck.audit.attribution import counted_in_all, display, map_cosine, pointing_game, wins
from limbeck.errors import DataError, ShapeError

MAPS = torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(0))


def test_cosine() -> None:
    assert torch.allclose(map_cosine(MAPS, 3e-30 * MAPS), torch.ones(4))
    assert torch.allclose(map_cosine(MAPS, -MAPS), -torch.ones(4))
    assert map_cosine(MAPS, MAPS + 1).max() < 1 - 1e-3  # shifts count
    zero = MAPS.clone()
    zero[2] = 0
    assert map_cosine(zero, MAPS).isnan().tolist() == [False, False, True, False]
    assert torch.equal(map_cosine(zero, MAPS).isnan(), map_cosine(MAPS, zero).isnan())


def test_sizes() -> None:
    flat = torch.ones(4, 2, 2)
    assert torch.allclose(map_cosine(flat, torch.ones(4, 7, 3)), torch.ones(4))
    ramp = torch.tensor([[[0.0, 1.0]]])
    wide = torch.tensor([[[0.0, 0.25, 0.75, 1.0]]])  # bilinear, corners not aligned
    assert torch.allclose(map_cosine(ramp, wide), torch.ones(1))
    assert torch.allclose(map_cosine(ramp, wide, size=(1, 8)), torch.ones(1), atol=1e-2)


def test_wins() -> None:
    a, b = torch.rand(50), torch.rand(50)
    assert wins(a, b).mean().item() == pytest.approx(1 - wins(b, a).mean().item())
    assert wins(a, a).unique().tolist() == [0.5]
    assert wins(a, a, ties="none").sum() == 0
    holes = a.clone()
    holes[3] = torch.nan
    assert wins(holes, b).isnan().sum() == 1
    both = counted_in_all(holes, b)
    assert all(int(x.isnan().sum()) == 1 and bool(x[3].isnan()) for x in both)


def test_display() -> None:
    shown = display(MAPS, (10, 12))
    assert shown.shape == (4, 10, 12)
    assert torch.allclose(shown.amin(dim=(1, 2)), torch.zeros(4))
    assert torch.allclose(shown.amax(dim=(1, 2)), torch.ones(4), atol=1e-5)
    assert torch.equal(display(torch.ones(1, 2, 2), (4, 4)), torch.zeros(1, 4, 4))


def test_pointing() -> None:
    maps = torch.zeros(4, 2, 2)
    maps[:3, 0, 1] = 1  # top right
    boxes = [
        torch.tensor([[4.0, 0.0, 8.0, 4.0]]),
        torch.tensor([[0.0, 4.0, 4.0, 8.0]]),
        torch.zeros(0, 4),
        torch.tensor([[0.0, 0.0, 8.0, 8.0]]),
    ]
    found = pointing_game(maps, boxes, (8, 8))
    assert found[:2].tolist() == [1.0, 0.0]
    assert found[2:].isnan().all()
    assert pointing_game(maps[1:2], boxes[1:2], (8, 8), tolerance=4.0).tolist() == [1.0]
    with pytest.raises(DataError, match="no area"):
        pointing_game(maps[:1], torch.tensor([[4.0, 0.0, 4.0, 4.0]]), (8, 8))


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ShapeError, match="same images"):
        map_cosine(MAPS, MAPS[:2])
    broken = MAPS.clone()
    broken[1, 0, 0] = torch.inf
    with pytest.raises(DataError, match="second map of image 1"):
        map_cosine(MAPS, broken)
