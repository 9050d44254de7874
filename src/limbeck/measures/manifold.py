"""Whether samples lie where the reference lies, and everywhere there: balls around nearest neighbours."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from limbeck.bounds import PositiveInt
from limbeck.errors import DataError
from limbeck.numerics.checks import require_above
from limbeck.numerics.point_sets import distances, distances_within, point_sets


class PrecisionRecall(NamedTuple):
    """Fractions between 0 and 1."""

    precision: float
    """Of the samples, how many lie in the reference's manifold: are they good?"""
    recall: float
    """Of the reference, how many points lie in the samples' manifold: is everything there?"""


class DensityCoverage(NamedTuple):
    """Precision and recall that outliers disturb less."""

    density: float
    """In how many of the reference's balls a sample lies, over the number to be expected; about 1 or, for samples
    in the thick of the reference, more."""
    coverage: float
    """Of the reference's balls, the fraction with a sample inside."""


@torch.no_grad()
def precision_recall(samples: Tensor, reference: Tensor, *, neighbours: PositiveInt = 3) -> PrecisionRecall:
    """Improved precision and recall: a set's manifold is the union of balls that reach to the k-th neighbour.

    Meant for features of a network (state which). Both values depend on the numbers of points: compare at equal
    numbers, and take as many samples as reference.

    Args:
        samples: shape (n, ...), flattened to (n, d).
        reference: shape (m, ...), flattened to (m, d).
        neighbours: k, a point itself not counted; 3 in the paper. The ball's edge belongs to it.

    Returns:
        Two fractions, `precision` and `recall`.

    Raises:
        ShapeError: widths differ.
        DataError: a side with less than k + 1 points, or numbers that are not finite.
        ConfigError: no neighbours.

    Example:
        >>> here = torch.tensor([0.0, 1.0, 2.0, 3.0])
        >>> precision_recall(torch.tensor([1.5, 1.6, 1.7, 90.0]), here, neighbours=1)
        PrecisionRecall(precision=0.75, recall=0.5)

    References:
        Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative Models, NeurIPS 2019,
        equations 1 to 3 [kynkaanniemi2019improved].
    """
    require_above("precision_recall", 0, neighbours=neighbours)
    left, right = point_sets("precision_recall", samples=samples, reference=reference)
    reach = _reach("precision_recall: samples", left, neighbours)
    reference_reach = _reach("precision_recall: reference", right, neighbours)
    precise = 0
    recalled = torch.zeros(len(right), dtype=torch.bool, device=right.device)
    for rows, block in distances(left, right):
        precise += int((block <= reference_reach).any(dim=1).sum())
        recalled |= (block <= reach[rows, None]).any(dim=0)
    return PrecisionRecall(precise / len(left), int(recalled.sum()) / len(right))


@torch.no_grad()
def density_coverage(samples: Tensor, reference: Tensor, *, neighbours: PositiveInt = 5) -> DensityCoverage:
    """Density and coverage: precision counted by balls instead of yes or no, and recall by the reference's balls.

    Args:
        samples: shape (n, ...), flattened to (n, d).
        reference: shape (m, ...), flattened to (m, d).
        neighbours: k, a point itself not counted; 5 in the paper. The ball's edge does not belong to it, as in
            the released code, so that a set has density 1 against itself.

    Returns:
        `density`, at least 0 and not bounded by 1, and `coverage`, a fraction.

    Raises:
        ShapeError: widths differ.
        DataError: fewer than two samples, less than k + 1 points of reference, or numbers that are not finite.
        ConfigError: no neighbours.

    Example:
        >>> here = torch.tensor([0.0, 1.0, 2.0, 3.0])
        >>> density_coverage(torch.tensor([1.5, 1.6, 1.7, 90.0]), here, neighbours=1)
        DensityCoverage(density=1.5, coverage=0.5)

    References:
        Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models, ICML 2020, equations 2 and 3
        [naeem2020reliable].
    """
    require_above("density_coverage", 0, neighbours=neighbours)
    left, right = point_sets("density_coverage", samples=samples, reference=reference)
    reach = _reach("density_coverage: reference", right, neighbours)
    hits = 0
    covered = torch.zeros(len(right), dtype=torch.bool, device=right.device)
    for _, block in distances(left, right):
        inside = block < reach
        hits += int(inside.sum())
        covered |= inside.any(dim=0)
    return DensityCoverage(hits / (neighbours * len(left)), int(covered.sum()) / len(right))


def _reach(side: str, points: Tensor, neighbours: int) -> Tensor:
    """Distance from each point to its k-th neighbour, shape (n,)."""
    if len(points) <= neighbours:
        raise DataError(f"{side} has {len(points)} points, too few for {neighbours} neighbours of each.")
    # The nearest to a point is itself, at distance 0.
    found = [block.kthvalue(neighbours + 1, dim=1).values for _, block in distances_within(points)]
    return torch.cat(found)
