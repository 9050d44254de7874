"""P-values of many tests made together, raised so that the whole keeps its promise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from scipy import stats


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the chance of any false claim among all tests stays below alpha.

    It asks for nothing about how the tests depend on each other, which matters here: all of them look at the same
    networks.

    Args:
        p_values: in any order; NaN is no test and stays NaN.

    Returns:
        Corrected p-values in the same order.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, float("nan"), 0.03])]
        [0.03, 0.06, nan, 0.06]

    References:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 1979
        [holm1979simple].
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    corrected = [math.nan] * len(p_values)
    highest = 0.0
    for step, (p, place) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - step) * p))
        corrected[place] = highest
    return corrected


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's correction: of all claims made, a share of alpha is false on average.

    Weaker than Holm's and better at finding small effects among many tests.

    Args:
        p_values: in any order; NaN is no test and stays NaN.

    Returns:
        Corrected p-values in the same order.

    Example:
        >>> [round(p, 3) for p in benjamini_hochberg([0.01, 0.04, float("nan"), 0.03])]
        [0.03, 0.04, nan, 0.04]

    References:
        Benjamini and Hochberg, Controlling the False Discovery Rate, Journal of the Royal Statistical Society B
        1995 [benjamini1995controlling].
    """
    places = [place for place, p in enumerate(p_values) if not math.isnan(p)]
    corrected = [math.nan] * len(p_values)
    if places:
        found = stats.false_discovery_control([p_values[place] for place in places], method="bh")
        for place, p in zip(places, found, strict=True):
            corrected[place] = float(p)
    return corrected


def uncorrected(p_values: Sequence[float]) -> list[float]:
    """Every test by itself: right for a single question asked beforehand."""
    return [float(p) for p in p_values]


CORRECTIONS: dict[str, Callable[[Sequence[float]], list[float]]] = {
    "holm": holm,
    "benjamini_hochberg": benjamini_hochberg,
    "none": uncorrected,
}
"""Name in a recipe -> correction."""
