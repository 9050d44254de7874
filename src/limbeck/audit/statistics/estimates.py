"""A number with its uncertainty over images and over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special
from torch import Tensor

FEWEST = 5
"""Images below which no interval is given: their spread says next to nothing about that of others."""
FEWEST_ALIKE = 30
"""Images below which answers that are alike throughout prove nothing: by the rule of three, three in as many
others may still differ."""
_LOST = 0.05
"""Share of the resampled sets in which a number may be undefined before its spread is not believed."""


@dataclass(frozen=True)
class Part:
    """One source of uncertainty: the variance it adds to a number, and the degrees of freedom behind it."""

    variance: float
    freedom: float


@dataclass(frozen=True)
class Estimate:
    """A number, its interval and the p-value against zero.

    The image part could be read from the percentiles of the bootstrap instead. That cannot be added to the
    uncertainty over seeds, and 2,000 draws give no p-value below 1/2000, which is too coarse once it is corrected
    for many tests; sums over hundreds of images are close enough to normal. So the bootstrap gives a variance,
    which also holds for numbers that are no means, and Student's t gives the interval, whatever the parts.

    Attributes:
        value: NaN where it is undefined.
        low: lower end, NaN where there is no interval.
        high: upper end.
        p: two-sided, against zero.
        confidence: of the interval.
        images: uncertainty over images, None where there is no interval.
        seeds: uncertainty over seeds, one part for each group of networks; empty where there was one seed.
        reason: why there is no interval, in a few words.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    confidence: float = 0.95
    images: Part | None = None
    seeds: tuple[Part, ...] = ()
    reason: str = ""

    @property
    def defined(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.low)

    @property
    def half_width(self) -> float:
        """Of the interval."""
        return (self.high - self.low) / 2

    @property
    def seeds_dominate(self) -> bool:
        """Whether more of the variance comes from the seeds than from the images."""
        return self.images is not None and sum(part.variance for part in self.seeds) > self.images.variance

    def half_width_with(self, images: float = 1.0, seeds: float = 1.0) -> float:
        """The half-width that so many times more images or seeds would give, the spread staying as it is."""
        if self.images is None:
            return math.nan
        parts = [_more(self.images, images), *(_more(part, seeds) for part in self.seeds)]
        error, freedom = _combined(parts)
        return error * _quantile(self.confidence, freedom) if error else 0.0


def estimate(
    value: float, replicates: Tensor, images: int, seeds: Sequence[Part] = (), confidence: float = 0.95
) -> Estimate:
    """Interval and p-value of a number from its bootstrap over images and its spread over seeds.

    The two variances are added. What differs from seed to seed *and* image to image is in both, so the interval
    is somewhat wide where such noise prevails, and never too narrow for it.

    Args:
        value: the number.
        replicates: the same on resampled images, shape (draws,).
        images: how many count.
        seeds: variance of `value` over seeds with its degrees of freedom.
        confidence: of the interval.

    References:
        Welch, The Generalization of "Student's" Problem when Several Different Population Variances are Involved,
        Biometrika 1947 [welch1947generalization]; Efron and Tibshirani, chapter 6 [efron1993introduction].
    """
    finite = replicates[replicates.isfinite()]
    lost = 1 - len(finite) / max(1, len(replicates))
    if not math.isfinite(value):
        return Estimate(math.nan, confidence=confidence, reason="the number is undefined")
    if images < FEWEST:
        return Estimate(value, confidence=confidence, reason=f"{images} images count, and {FEWEST} are the fewest")
    if lost > _LOST:
        words = f"it is undefined in {100 * lost:.0f} % of the resampled sets of images: too few images count"
        return Estimate(value, confidence=confidence, reason=words)
    # A resampled set varies as if the mean of the images were known: n - 1 of n parts of the variance.
    over_images = Part(finite.var().item() * images / (images - 1), images - 1)
    error, freedom = _combined([over_images, *seeds])
    if error <= 1e-12 * max(1.0, abs(value)):
        if images < FEWEST_ALIKE:
            words = f"nothing varies over the {images} images that count, which are too few to conclude from"
            return Estimate(value, confidence=confidence, reason=words)
        # Networks that answer alike on every image and for every seed leave nothing to estimate.
        same = abs(value) <= 1e-12
        return Estimate(value, value, value, 1.0 if same else 0.0, confidence, over_images, tuple(seeds))
    reach = error * _quantile(confidence, freedom)
    p = 2 * float(special.stdtr(freedom, -abs(value) / error))
    return Estimate(value, value - reach, value + reach, p, confidence, over_images, tuple(seeds))


def _combined(parts: Sequence[Part]) -> tuple[float, float]:
    total = sum(part.variance for part in parts)
    if total == 0:
        return 0.0, math.inf
    return math.sqrt(total), total**2 / sum(part.variance**2 / part.freedom for part in parts if part.variance > 0)


def _more(part: Part, factor: float) -> Part:
    return Part(part.variance / factor, (part.freedom + 1) * factor - 1)


def _quantile(confidence: float, freedom: float) -> float:
    return -float(special.stdtrit(freedom, (1 - confidence) / 2))
