from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from limbeck.errors import DataError, ShapeError
from limbeck.measures import Moments, frechet_distance, frechet_from_moments, moments

DRAW = torch.Generator().manual_seed(0)
LEFT = torch.randn(50, 6, generator=DRAW, dtype=torch.float64)
RIGHT = 1 + 2 * torch.randn(40, 6, generator=DRAW, dtype=torch.float64)


def textbook(left, right):
    ours, theirs = left.numpy(), right.numpy()
    first, second = np.cov(ours, rowvar=False), np.cov(theirs, rowvar=False)
    offset = ((ours.mean(0) - theirs.mean(0)) ** 2).sum()
    return offset + np.trace(first + second - 2 * sqrtm(first @ second).real)


def test_as_the_textbook_and_pot_have_it() -> None:
    value = frechet_distance(LEFT, RIGHT)
    assert value == pytest.approx(textbook(LEFT, RIGHT), rel=1e-9)
    (mean, covariance), (other_mean, other_covariance) = moments(LEFT), moments(RIGHT)
    theirs = ot.gaussian.bures_wasserstein_distance(
        mean.numpy(), other_mean.numpy(), covariance.numpy(), other_covariance.numpy()
    )
    assert value == pytest.approx(float(theirs) ** 2)


def test_as_torchmetrics_has_it() -> None:
    fid = pytest.importorskip("torchmetrics.image.fid")
    theirs = fid._compute_fid(*moments(LEFT), *moments(RIGHT))
    assert frechet_distance(LEFT, RIGHT) == pytest.approx(theirs.item(), rel=1e-6)


def test_closed_form_of_gaussians_along_the_axes() -> None:
    one, two = torch.tensor([1.0, 4.0, 0.0]), torch.tensor([9.0, 4.0, 1.0])
    offset = torch.tensor([3.0, 0.0, 4.0])
    value = frechet_from_moments(torch.zeros(3), one.diag(), offset, two.diag())
    assert value == pytest.approx(25 + 4 + 0 + 1)


def test_fewer_samples_than_features() -> None:
    wide = torch.randn(5, 40, generator=DRAW, dtype=torch.float64)
    assert frechet_distance(wide, wide) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(wide, wide + 2) == pytest.approx(160)


@given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 5), st.integers(0, 99))
def test_properties(n, m, width, seed) -> None:
    draw = torch.Generator().manual_seed(seed)
    left, right = torch.randn(n, width, generator=draw), torch.randn(m, width, generator=draw).double()
    value = frechet_distance(left, right)
    assert frechet_distance(left, left) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(right, left) == pytest.approx(value, abs=1e-7)
    assert frechet_distance(left[torch.randperm(n, generator=draw)], right) == pytest.approx(value, abs=1e-7)
    turn = torch.linalg.qr(torch.randn(width, width, generator=draw, dtype=torch.float64)).Q
    assert frechet_distance(left.double() @ turn, right @ turn) == pytest.approx(value, abs=1e-7)


def test_moments_in_batches_and_from_parts() -> None:
    far = 1e6 + LEFT
    gathered, other = Moments(), Moments()
    for batch in far[:31].split(7):
        gathered.update(batch)
    for batch in far[31:].split(1):
        other.update(batch.view(1, 2, 3))
    both = gathered.merge(other)
    assert (gathered.count, other.count, both.count) == (31, 19, 50)
    for found, wanted in zip((both.mean, both.covariance), moments(far), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(
        both.covariance, torch.from_numpy(np.cov(LEFT.numpy(), rowvar=False)), atol=1e-8, rtol=0
    )
    torch.testing.assert_close(Moments().merge(both).covariance, both.covariance)
    assert both.merge(Moments()).count == 50


def test_moments_that_cannot_be() -> None:
    gathered = Moments()
    with pytest.raises(DataError, match="at least 1 samples, has 0"):
        _ = gathered.mean
    gathered.update(LEFT[:0])
    gathered.update(LEFT[:1])
    with pytest.raises(DataError, match="at least 2 samples, has 1"):
        _ = gathered.covariance
    with pytest.raises(ShapeError, match="have 5 numbers each, but had 6 before"):
        gathered.update(LEFT[:, :5])
    with pytest.raises(DataError, match="after 1 samples"):
        gathered.update(LEFT / 0)
    with pytest.raises(ShapeError, match="shape"):
        gathered.update(LEFT[:, 0])
    assert gathered.count == 1


def test_errors() -> None:
    mean, covariance = moments(LEFT)
    with pytest.raises(DataError, match="frechet_distance: features needs at least 2"):
        frechet_distance(LEFT[:1], RIGHT)
    with pytest.raises(DataError, match="points of reference_features hold infinite"):
        frechet_distance(LEFT, RIGHT / 0)
    with pytest.raises(ShapeError, match="frechet_distance"):
        frechet_distance(LEFT, RIGHT[:, :2])
    with pytest.raises(ShapeError, match="the same d on both sides"):
        frechet_from_moments(mean, covariance, mean[:2], covariance[:2, :2])
    with pytest.raises(DataError, match="reference_covariance is not symmetric"):
        frechet_from_moments(mean, covariance, mean, covariance + torch.ones(6, 6).triu(1))
    with pytest.raises(DataError, match="reference_covariance has the eigenvalue"):
        frechet_from_moments(mean, covariance, mean, covariance - 2 * torch.eye(6))
    with pytest.raises(DataError, match="reference_mean holds infinite"):
        frechet_from_moments(mean, covariance, mean / 0, covariance)
