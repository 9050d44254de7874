"""How exactly a share is known from a number of images."""

from __future__ import annotations

import math

from scipy import stats

from limbeck.errors import ConfigError


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, which keeps its coverage near 0 and 1 and for few images.

    It says how well the images at hand determine the share of one network; nothing about other seeds.

    Args:
        successes: images that count.
        n: images in all, at least 1.
        confidence: of the interval, between 0 and 1.

    Returns:
        Lower and upper end, fractions.

    Raises:
        ConfigError: no images, or more successes than images.

    Example:
        >>> low, high = wilson(2, 40)
        >>> round(low, 4), round(high, 4)
        (0.0138, 0.165)

    References:
        Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 1927
        [wilson1927probable].
    """
    if not 0 <= successes <= n or n < 1:
        raise ConfigError(f"wilson: a share needs 0 <= successes <= n and n >= 1; got {successes} of {n}.")
    found = stats.binomtest(successes, n).proportion_ci(confidence_level=confidence, method="wilson")
    return float(found.low), float(found.high)


def needed(precision: float, confidence: float = 0.95) -> int:
    r"""Images for which a share is known to +-`precision`, whatever the share is.

    Wilson's interval is widest for a share of one half, where its half-width is
    :math:`z / (2 \sqrt{n + z^2})`; solved for :math:`n`.

    Args:
        precision: half-width that is wanted, a fraction above 0.
        confidence: of the interval.

    Raises:
        ConfigError: a precision that is not above 0.

    Example:
        >>> needed(0.02), needed(0.01)
        (2398, 9600)
    """
    if not precision > 0:
        raise ConfigError(f"needed: precision must be above 0; got {precision:g}.")
    z = float(stats.norm.isf((1 - confidence) / 2))
    return max(1, math.ceil((z / (2 * precision)) ** 2 - z**2))
