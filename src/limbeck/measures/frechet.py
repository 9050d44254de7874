"""The distance between two sets of features taken for Gaussians."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from limbeck.errors import DataError, ShapeError
from limbeck.numerics.point_sets import in_double, point_sets


@torch.no_grad()
def frechet_distance(features: Tensor, reference_features: Tensor) -> float:
    """Squared Fréchet (2-Wasserstein) distance of the Gaussians with the features' moments.

    On any network's features. Only on the Inception network of `limbeck.measures.fid` is it the FID; elsewhere,
    name the network. It is biased upwards by a multiple of 1/n: compare at equal numbers of samples, and give the
    value between two halves of the real data beside it.

    Args:
        features: shape (n, ...), flattened to (n, d).
        reference_features: shape (m, ...), flattened to (m, d).

    Returns:
        |mu - mu'|^2 + tr(S + S' - 2 (S S')^(1/2)), with covariances divided by n - 1.

    Raises:
        ShapeError: widths differ.
        DataError: fewer than two samples on a side, or numbers that are not finite.

    Example:
        >>> round(frechet_distance(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([3.0, 4.0, 5.0])), 6)
        9.0

    References:
        Dowson and Landau, The Fréchet Distance Between Multivariate Normal Distributions, JMVA 1982, equation 4
        [dowson1982frechet]; Heusel et al., GANs Trained by a Two Time-Scale Update Rule, NeurIPS 2017, equation 6
        [heusel2017gans].
    """
    left, right = point_sets("frechet_distance", features=features, reference_features=reference_features)
    return frechet_from_moments(*moments(left), *moments(right))


@torch.no_grad()
def frechet_from_moments(
    mean: Tensor, covariance: Tensor, reference_mean: Tensor, reference_covariance: Tensor
) -> float:
    """As `frechet_distance`, from means and covariances that are known already.

    Args:
        mean: shape (d,).
        covariance: shape (d, d).
        reference_mean: shape (d,).
        reference_covariance: shape (d, d).

    Raises:
        ShapeError: shapes that do not fit together.
        DataError: numbers that are not finite, or a matrix that is no covariance.

    Example:
        >>> one = torch.eye(2)
        >>> round(frechet_from_moments(torch.zeros(2), one, torch.ones(2), 4 * one), 6)
        4.0
    """
    shapes = [tuple(t.shape) for t in (mean, covariance, reference_mean, reference_covariance)]
    width = mean.numel()
    if not width or shapes != [(width,), (width, width)] * 2:
        raise ShapeError(
            "frechet_from_moments: expected means (d,) and covariances (d, d), the same d on both sides; got "
            f"mean {shapes[0]}, covariance {shapes[1]}, reference_mean {shapes[2]}, "
            f"reference_covariance {shapes[3]}."
        )
    ours, theirs = _checked("", mean, covariance), _checked("reference_", reference_mean, reference_covariance)
    root, reference_root = _root("covariance", ours[1]), _root("reference_covariance", theirs[1])
    # With S = A A^T and S' = B B^T the singular values of A^T B are the roots of the eigenvalues of S S'; taken
    # so, nothing small is squared and rooted again, which would cost half of the digits.
    overlap = torch.linalg.svdvals(root.T @ reference_root.to(root.device)).sum()
    offset = (ours[0] - theirs[0].to(root.device)).square().sum()
    spread = ours[1].trace() + theirs[1].trace().to(root.device) - 2 * overlap
    return max(0.0, float(offset + spread))


def _checked(side: str, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    mean, covariance = in_double(mean), in_double(covariance)
    for name, tensor in ((f"{side}mean", mean), (f"{side}covariance", covariance)):
        if not torch.isfinite(tensor).all():
            raise DataError(f"frechet_from_moments: {name} holds infinite or undefined numbers.")
    if not torch.allclose(covariance, covariance.T, rtol=1e-4, atol=1e-4 * float(covariance.abs().max())):
        raise DataError(f"frechet_from_moments: {side}covariance is not symmetric, so it is no covariance.")
    return mean, (covariance + covariance.T) / 2


def _root(name: str, covariance: Tensor) -> Tensor:
    """A matrix A with A A^T the covariance, shape (d, rank)."""
    values, vectors = torch.linalg.eigh(covariance)
    largest = float(values[-1].clamp_min(0))
    if float(values[0]) < -1e-4 * largest or float(values[-1]) < 0:
        raise DataError(
            f"frechet_from_moments: {name} has the eigenvalue {float(values[0]):.3g}; a covariance has none that "
            "is negative."
        )
    # What is left of a missing direction is rounding; its root would not be small.
    kept = values > len(values) * torch.finfo(values.dtype).eps * largest
    root: Tensor = vectors[:, kept] * values[kept].sqrt()
    return root


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of features.

    Args:
        features: shape (n, ...), flattened to (n, d).

    Returns:
        Mean (d,) and covariance (d, d), divided by n - 1; float64.

    Raises:
        DataError: fewer than two samples, or numbers that are not finite.

    Example:
        >>> mean, covariance = moments(torch.tensor([[0.0, 0.0], [2.0, 4.0]]))
        >>> mean.tolist(), covariance.tolist()
        ([1.0, 2.0], [[2.0, 4.0], [4.0, 8.0]])
    """
    (rows,) = point_sets("moments", features=features)
    gathered = Moments()
    gathered.update(rows)
    return gathered.mean, gathered.covariance


@dataclass(slots=True)
class Moments:
    """Mean and covariance of features that come in batches; the features themselves are not kept.

    Sums of squares are taken around the mean so far, so a mean far from zero costs no digits.

    Example:
        >>> gathered = Moments()
        >>> for batch in torch.arange(12.0).view(3, 2, 2):
        ...     gathered.update(batch)
        >>> gathered.count, gathered.mean.tolist()
        (6, [5.0, 6.0])

    References:
        Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance, The American Statistician 1983
        [chan1983algorithms].
    """

    count: int = 0
    """Samples so far."""
    _mean: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    _scatter: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.float64))

    @property
    def mean(self) -> Tensor:
        """Shape (d,), float64."""
        self._require(1)
        return self._mean

    @property
    def covariance(self) -> Tensor:
        """Shape (d, d), float64, divided by n - 1."""
        self._require(2)
        return self._scatter / (self.count - 1)

    @torch.no_grad()
    def update(self, features: Tensor) -> None:
        """Take in a batch.

        Args:
            features: shape (n, ...), flattened to (n, d); n may be 0 or 1.

        Raises:
            ShapeError: another width than before.
            DataError: numbers that are not finite; nothing of the batch is taken in.
        """
        if features.dim() < 2:
            raise ShapeError(f"Moments: features must have shape (n, ...), got {tuple(features.shape)}.")
        if not len(features):
            return
        rows = in_double(features).flatten(1)
        if not torch.isfinite(rows).all():
            raise DataError(f"Moments: features hold infinite or undefined numbers, after {self.count:,} samples.")
        mean = rows.mean(dim=0)
        centred = rows - mean
        self._take_in(len(rows), mean, centred.T @ centred)

    def merge(self, other: Moments) -> Moments:
        """The moments of the samples of both, as something new; say, of two processes.

        Raises:
            ShapeError: widths that differ.
        """
        both = Moments(self.count, self._mean.clone(), self._scatter.clone())
        if other.count:
            both._take_in(other.count, other._mean, other._scatter)
        return both

    def _take_in(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        if not self.count:
            self.count, self._mean, self._scatter = count, mean.clone(), scatter.clone()
            return
        if mean.shape != self._mean.shape:
            raise ShapeError(f"Moments: features have {len(mean)} numbers each, but had {len(self._mean)} before.")
        total = self.count + count
        step = mean.to(self._mean.device) - self._mean
        self._mean = self._mean + step * (count / total)
        # torch.outer keeps the matrix exactly symmetric.
        self._scatter = (
            self._scatter + scatter.to(step.device) + torch.outer(step, step) * (self.count * count / total)
        )
        self.count = total

    def _require(self, least: int) -> None:
        if self.count < least:
            raise DataError(f"Moments: needs at least {least} samples, has {self.count}.")
