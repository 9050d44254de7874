from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.measures import (
    class_changes,
    margin_correlation,
    margins,
    plane_through,
    predictions_on,
    same_regions,
)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def half_space(points):
    """Class 1 beyond 1 in the first number."""
    return torch.stack([torch.zeros(len(points)), points.flatten(1)[:, 0] - 1], dim=1)


@given(st.integers(2, 6), st.integers(0, 99))
def test_plane_holds_its_images(side, seed) -> None:
    images = drawn(3, 1, side, side, seed=seed).double()
    plane = plane_through(images)
    torch.testing.assert_close(plane.images(plane.corners), images)
    axes = plane.axes.flatten(1)
    torch.testing.assert_close(axes @ axes.T, torch.eye(2, dtype=torch.float64))
    turned = plane_through(images[[1, 0, 2]])
    both = torch.cat([axes, turned.axes.flatten(1)])
    assert torch.linalg.matrix_rank(both, rtol=1e-8) == 2


def test_grid_by_loops() -> None:
    plane = plane_through(torch.tensor([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [-1.0, 0.0, 2.0]]))
    assert plane.corners.tolist() == [[0, 0], [4, 0], [-1, 2]]
    grid = plane.grid(resolution=3, margin=0.5)
    assert grid.tolist() == [[a, b] for a in (-3.5, 1.5, 6.5) for b in (-1, 1, 3)]
    assert plane.images(grid)[0].tolist() == [-3.5, 0, -1]
    assert plane.grid().shape == (2500, 2)


def test_regions() -> None:
    plane = plane_through(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]]))
    grid = plane.grid(resolution=20, margin=0.0)
    found = predictions_on(half_space, plane, grid, batch_size=7)
    assert found.tolist() == [int(a > 1) for a, _ in grid.tolist()]
    other = predictions_on(lambda x: half_space(x.flip(1)), plane, grid)
    assert same_regions(found, found) == 1
    assert same_regions(found, other) == same_regions(other, found) == pytest.approx(0.5)
    network = nn.Sequential(nn.Linear(2, 3))
    assert predictions_on(network, plane, grid).shape == (400,)


def test_changes_on_the_way() -> None:
    bands = lambda x: torch.stack([torch.sin(math.pi * x[:, 0]), torch.zeros(len(x))], dim=1)  # noqa: E731
    starts, ends = (
        torch.tensor([[0.5, 0.0], [0.5, 0.0], [0.2, 3.0]]),
        torch.tensor([[1.5, 0.0], [4.5, 1.0], [0.8, 9.0]]),
    )
    assert class_changes(bands, starts, ends).tolist() == [1, 4, 0]
    assert class_changes(bands, ends, starts, batch_size=2).tolist() == [1, 4, 0]
    assert class_changes(bands, starts, ends, steps=1).tolist() == [1, 0, 0]


def test_margins_of_a_half_space() -> None:
    images = torch.tensor([[0.0, 0.0], [0.5, 7.0], [3.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    directions = torch.tensor([[5.0, 0.0], [3.0, 4.0], [-1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    found = margins(half_space, images, directions, longest=4.0, steps=20, halvings=12, batch_size=2)
    assert found[:3].tolist() == pytest.approx([1, 0.5 / 0.6, 2], abs=1e-4)
    assert found[3] == math.inf
    assert found[4].isnan()
    assert margins(half_space, images[:1], directions[:1], longest=0.9).tolist() == [math.inf]
    assert margins(half_space, images[:0], directions[:0], longest=1.0).shape == (0,)
    grey = images.view(-1, 1, 1, 2).double()
    again = margins(half_space, grey, directions.view(-1, 1, 1, 2).double(), longest=4.0, steps=20, halvings=12)
    torch.testing.assert_close(again, found, atol=1e-5, rtol=0, equal_nan=True)


def test_margins_by_rank() -> None:
    near = torch.tensor([0.1, 0.2, 0.4, math.inf, math.nan])
    assert margin_correlation(near, near.square()) == pytest.approx(1)
    assert margin_correlation(near, -near) == pytest.approx(-1)
    assert math.isnan(margin_correlation(near[-2:], near[-2:]))
    assert math.isnan(margin_correlation(near, torch.ones(5)))


def test_errors() -> None:
    line = torch.tensor([[0.0, 0.0], [1.0, 1.0], [3.0, 3.0]])
    for images in (line, line[[0, 0, 1]], line[[0, 1, 0]]):
        with pytest.raises(DataError, match="on one line"):
            plane_through(images)
    with pytest.raises(ShapeError, match=r"three images .* \(2, 2\)"):
        plane_through(line[:2])
    with pytest.raises(DataError, match="infinite"):
        plane_through(line / 0)
    plane = plane_through(torch.tensor([[0.0, 0.0], [1.0, 1.0], [3.0, 4.0]]))
    with pytest.raises(ConfigError, match="resolution must be above 1"):
        plane.grid(resolution=1)
    with pytest.raises(ConfigError, match="margin must be at least 0"):
        plane.grid(margin=-0.1)
    with pytest.raises(ShapeError, match=r"the network gave \(4,\)"):
        predictions_on(lambda x: x[:, 0], plane, plane.grid(resolution=2))
    with pytest.raises(ShapeError, match="same points"):
        same_regions(torch.zeros(2), torch.zeros(3))
    with pytest.raises(DataError, match="no points"):
        same_regions(torch.zeros(0), torch.zeros(0))
    with pytest.raises(ShapeError, match=r"starts \(3, 2\), ends \(2, 2\)"):
        class_changes(half_space, line, line[:2])
    with pytest.raises(ConfigError, match="longest"):
        margins(half_space, line, line, longest=0.0)
    with pytest.raises(ShapeError, match="two vectors"):
        margin_correlation(torch.zeros(2), torch.zeros(3))
