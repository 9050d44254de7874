"""Which of the known modes of a target the samples reach."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from limbeck.bounds import Positive, PositiveInt
from limbeck.numerics.checks import require_above
from limbeck.numerics.point_sets import distances, point_sets


class ModeCoverage(NamedTuple):
    """What the samples do with the modes."""

    covered: float
    """Fraction of the modes that have samples."""
    quality: float
    """Fraction of the samples that lie at a mode."""
    counts: Tensor
    """Samples at each mode, shape (modes,), int64, on the CPU."""


@torch.no_grad()
def mode_coverage(samples: Tensor, modes: Tensor, *, radius: Positive, least: PositiveInt = 1) -> ModeCoverage:
    """How many modes are reached, and how many samples reach one; each sample counts for its nearest mode.

    Args:
        samples: shape (n, ...), flattened to (n, d).
        modes: centres, shape (k, ...), flattened to (k, d).
        radius: a sample within it lies at the mode; the literature takes 3 standard deviations of a mode.
        least: samples that make a mode covered.

    Returns:
        `covered`, `quality` and `counts`.

    Raises:
        ShapeError: widths differ.
        DataError: fewer than two samples or modes, or numbers that are not finite.
        ConfigError: a radius or a least number that is not above 0.

    Example:
        >>> mode_coverage(torch.tensor([0.1, -0.2, 0.5, 9.0]), torch.tensor([0.0, 1.0, 2.0, 3.0]), radius=0.3)
        ModeCoverage(covered=0.25, quality=0.5, counts=tensor([2, 0, 0, 0]))

    References:
        Srivastava et al., VEEGAN, NeurIPS 2017, section 5 [srivastava2017veegan].
    """
    require_above("mode_coverage", 0, radius=radius, least=least)
    left, right = point_sets("mode_coverage", samples=samples, modes=modes)
    counts = torch.zeros(len(right), dtype=torch.int64)
    for _, block in distances(left, right):
        away, which = block.min(dim=1)
        counts += torch.bincount(which[away <= radius].cpu(), minlength=len(right))
    return ModeCoverage(int((counts >= least).sum()) / len(right), int(counts.sum()) / len(left), counts)
