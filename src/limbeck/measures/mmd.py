"""Whether two sets follow the same distribution, seen through Gaussian kernels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from limbeck import seeding
from limbeck.bounds import NonNegativeInt
from limbeck.errors import ConfigError, DataError
from limbeck.numerics.point_sets import distances, distances_within, point_sets

_MEDIAN_POINTS = 2000


@torch.no_grad()
def mmd(
    samples: Tensor,
    reference: Tensor,
    *,
    bandwidths: Sequence[float] = (0.5, 1.0, 2.0),
    seed: NonNegativeInt = 0,
) -> float:
    """Squared maximum mean discrepancy under a mixture of Gaussian kernels, as a V-statistic.

    The kernel is the mean over the bandwidths of exp(-|x - y|^2 / (2 h^2)), with h a multiple of the median
    distance between points of the reference: values of several models against one reference use one kernel. Every
    mean runs over all pairs, a point with itself included, so the value is never negative and is 0 for equal
    sets; for two draws of one distribution it is above 0 by at most 1/n + 1/m.

    Args:
        samples: shape (n, ...), flattened to (n, d).
        reference: shape (m, ...), flattened to (m, d).
        bandwidths: multiples of the median distance.
        seed: of the 2,000 points that the median is taken over, where the reference has more.

    Returns:
        Between 0 and 2, without a unit, not rooted.

    Raises:
        ShapeError: widths differ.
        DataError: fewer than two points on a side, numbers that are not finite, or a median distance of 0.
        ConfigError: no bandwidth, or one that is not above 0.

    Example:
        >>> points = torch.tensor([0.0, 1.0, 2.0])
        >>> mmd(points, points), round(mmd(points, points + 100), 4)
        (0.0, 1.2579)

    References:
        Gretton et al., A Kernel Two-Sample Test, JMLR 2012, equation 5 [gretton2012kernel].
    """
    if not bandwidths or not all(factor > 0 for factor in bandwidths):
        raise ConfigError(f"mmd: bandwidths must be numbers above 0, at least one; got {list(bandwidths)}.")
    left, right = point_sets("mmd", samples=samples, reference=reference)
    median = _median_distance(right, seed)
    if not median > 0:
        raise DataError(
            "mmd: the median distance between points of reference is 0 (most of them coincide), so that no "
            "bandwidth follows from it."
        )
    widths = [factor * median for factor in bandwidths]
    between = _kernel_sum(distances(left, right), widths) / (len(left) * len(right))
    within = [_kernel_sum(distances_within(points), widths) / len(points) ** 2 for points in (left, right)]
    return max(0.0, sum(within) - 2 * between)


def _median_distance(points: Tensor, seed: int) -> float:
    if len(points) > _MEDIAN_POINTS:
        kept = torch.randperm(len(points), generator=seeding.generator(seed, "median"))[:_MEDIAN_POINTS]
        points = points[kept.to(points.device)]
    return float(torch.pdist(points).median())


def _kernel_sum(blocks: Iterable[tuple[slice, Tensor]], widths: Sequence[float]) -> float:
    total = 0.0
    for _, block in blocks:
        block.square_()
        total += sum(float((block / (-2 * width**2)).exp_().sum()) for width in widths)
    return total / len(widths)
