"""How far one set has to be moved to become another."""

from __future__ import annotations

import math

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from limbeck.errors import DataError
from limbeck.numerics.point_sets import point_sets

_MOST = 2000


@torch.no_grad()
def wasserstein(samples: Tensor, reference: Tensor) -> float:
    """Exact 2-Wasserstein distance, by optimal assignment of each sample to one point of the reference.

    Args:
        samples: shape (n, ...), flattened to (n, d); n at most 2,000.
        reference: shape (n, ...), flattened to (n, d).

    Returns:
        The root of the mean squared distance between partners, in the unit of the points.

    Raises:
        ShapeError: widths differ.
        DataError: fewer than two or more than 2,000 points, different numbers of them, or numbers that are not
            finite.

    Example:
        >>> wasserstein(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 2.0], [0.0, 2.0]]))
        2.0

    References:
        Peyré and Cuturi, Computational Optimal Transport, 2019, proposition 2.1 [peyre2019computational].
    """
    left, right = point_sets("wasserstein", samples=samples, reference=reference)
    if len(left) != len(right) or len(left) > _MOST:
        raise DataError(
            f"wasserstein: needs equally many points on both sides, at most {_MOST:,}; got {len(left):,} samples "
            f"and {len(right):,} of reference. Give a part of them, or use sliced_wasserstein, which takes any "
            "number."
        )
    cost = torch.cdist(left, right, compute_mode="donot_use_mm_for_euclid_dist").square_().cpu().numpy()
    return math.sqrt(float(cost[linear_sum_assignment(cost)].mean()))
