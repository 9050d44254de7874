"""How far apart two sets lie, seen along lines."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limbeck import seeding
from limbeck.bounds import NonNegativeInt, PositiveInt
from limbeck.numerics.checks import require_above
from limbeck.numerics.point_sets import blocks_of_rows, point_sets


@torch.no_grad()
def sliced_wasserstein(
    samples: Tensor, reference: Tensor, *, projections: PositiveInt = 128, seed: NonNegativeInt = 0
) -> float:
    """Sliced 2-Wasserstein distance: the root mean square of the exact distances along random lines.

    The same seed gives the same lines, so values of different models are comparable. Sets of different sizes are
    compared by their quantile functions, exactly: no set is thinned out.

    Args:
        samples: shape (n, ...), flattened to (n, d).
        reference: shape (m, ...), flattened to (m, d).
        projections: lines through the origin, uniformly random in direction.
        seed: of the lines.

    Returns:
        In the unit of the points. A shift by a vector of length r gives about r / sqrt(d).

    Raises:
        ShapeError: widths differ.
        DataError: fewer than two points on a side, or numbers that are not finite.
        ConfigError: no projections.

    Example:
        >>> round(sliced_wasserstein(torch.tensor([0.0, 1.0]), torch.tensor([5.0, 6.0])), 4)
        5.0

    References:
        Bonneel et al., Sliced and Radon Wasserstein Barycenters of Measures, JMIV 2015, section 3
        [bonneel2015sliced].
    """
    require_above("sliced_wasserstein", 0, projections=projections)
    left, right = point_sets("sliced_wasserstein", samples=samples, reference=reference)
    draw = seeding.generator(seed, "projections")
    lines = torch.randn(projections, left.shape[1], generator=draw, dtype=torch.float64)
    lines = (lines / lines.norm(dim=1, keepdim=True)).to(left.device)
    width, from_left, from_right = _merged_quantiles(len(left), len(right), left.device)
    total = 0.0
    for some in blocks_of_rows(projections, len(left) + len(right)):
        along_left = (left @ lines[some].T).sort(dim=0).values[from_left]
        along_right = (right @ lines[some].T).sort(dim=0).values[from_right]
        total += float((width @ (along_left - along_right).square()).sum())
    return math.sqrt(total / projections)


def _merged_quantiles(n: int, m: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Where two quantile functions of n and m steps are both constant: the widths, and the step on either side."""
    # In units of 1 / (n m) every place where a step ends is a whole number: nothing is rounded.
    ends = torch.cat([torch.arange(n, device=device) * m, torch.arange(m, device=device) * n])
    starts = ends.unique()
    widths = torch.diff(starts, append=starts.new_tensor([n * m])).double() / (n * m)
    return widths, starts // m, starts // n
