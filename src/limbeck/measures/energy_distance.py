"""Whether two sets follow the same distribution, from distances alone."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.numerics.point_sets import distances, distances_within, point_sets


@torch.no_grad()
def energy_distance(samples: Tensor, reference: Tensor) -> float:
    """Energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'|, as a V-statistic.

    Every mean runs over all pairs, a point with itself included: the energy distance of the two empirical
    distributions. It is never negative and is 0 for equal sets, but for two draws of one distribution it is
    above 0 by (1/n + 1/m) E|X - X'|, so compare values at equal numbers of points only.

    Args:
        samples: shape (n, ...), flattened to (n, d).
        reference: shape (m, ...), flattened to (m, d).

    Returns:
        In the unit of the points, not rooted; `scipy.stats.energy_distance` in one dimension is its root.

    Raises:
        ShapeError: widths differ.
        DataError: fewer than two points on a side, or numbers that are not finite.

    Example:
        >>> energy_distance(torch.tensor([0.0, 0.0]), torch.tensor([2.0, 2.0]))
        4.0

    References:
        Székely and Rizzo, Energy Statistics, JSPI 2013, equations 5 and 6 [szekely2013energy].
    """
    left, right = point_sets("energy_distance", samples=samples, reference=reference)
    between = sum(float(block.sum()) for _, block in distances(left, right)) / (len(left) * len(right))
    return max(0.0, 2 * between - _spread(left) - _spread(right))


def _spread(points: Tensor) -> float:
    return sum(float(block.sum()) for _, block in distances_within(points)) / len(points) ** 2
