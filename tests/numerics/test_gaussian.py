from __future__ import annotations

import pytest
import torch

from limbeck.numerics import gaussian
from limbeck.numerics.gaussian import channel_moments, full_covariance, full_moments, moment_gaps

DRAW = torch.Generator().manual_seed(0)
MAPS = torch.randn(2, 3, 8, 6, generator=DRAW, dtype=torch.float64)


@pytest.mark.parametrize("grid", [1, 2, 3, 5])
def test_means_are_those_of_adaptive_pooling(grid: int) -> None:
    means, _ = channel_moments(MAPS, grid=grid)
    torch.testing.assert_close(means, torch.nn.functional.adaptive_avg_pool2d(MAPS, grid).flatten(2))


def test_even_cells_equal_cell_by_cell() -> None:
    quick = channel_moments(MAPS, grid=2)
    cells = [MAPS[:, :, a : a + 4, b : b + 3] for a in (0, 4) for b in (0, 3)]
    torch.testing.assert_close(quick[0], torch.stack([c.mean(dim=(2, 3)) for c in cells], 2))
    deviations = torch.stack([(c.var(dim=(2, 3)) + 1e-5).sqrt() for c in cells], 2)
    torch.testing.assert_close(quick[1], deviations)


def test_cells_overlap_where_the_grid_does_not_divide() -> None:
    assert gaussian._bounds(7, 4) == [(0, 2), (1, 4), (3, 6), (5, 7)]


def test_gaps_are_zero_at_equality() -> None:
    for gap in moment_gaps(MAPS, MAPS, grid=2):
        assert (gap == 0).all()


def test_full_moments() -> None:
    mean, centred = full_moments(MAPS)
    torch.testing.assert_close(mean, MAPS.mean(dim=(2, 3)))
    _, covariance = full_covariance(MAPS, ridge=0.5)
    wanted = torch.stack([torch.cov(x.flatten(1), correction=0) for x in MAPS]) + 0.5 * torch.eye(3)
    torch.testing.assert_close(covariance, wanted)
    assert centred.sum(dim=2).abs().max() < 1e-10
