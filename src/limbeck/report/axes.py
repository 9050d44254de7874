"""Where values go on a drawing, and which of them get a label."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_ROUND = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """A straight or logarithmic map from values to user units."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where a value goes; values below a logarithmic scale's range go to its start.

        Example:
            >>> Scale(0, 10, 0, 100)(5), Scale(1, 100, 0, 100, log=True)(10)
            (50.0, 50.0)
        """
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, low))
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """About so many round values inside the range, with their labels."""
        if self.log:
            return log_ticks(self.low, self.high, count)
        return linear_ticks(self.low, self.high, count)


def span(
    values: Iterable[float], *, log: bool = False, zero: bool = False, margin: float = 0.06
) -> tuple[float, float]:
    """The range that shows all values, with a margin; never empty.

    Args:
        values: those to be shown; what is not finite is left out.
        log: whether the margin is a factor.
        zero: whether zero belongs into the range.
        margin: as a share of the range.

    Example:
        >>> span([1, 1]), span([0, 10], margin=0.1), span([2, 8], zero=True, margin=0)
        ((0.5, 1.5), (-1.0, 11.0), (0, 8))
    """
    known = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    if zero and known:
        known.append(0)
    low, high = (min(known), max(known)) if known else (1.0, 1.0)
    if log:
        factor = (high / low) ** margin if high > low else 2.0
        return low / factor, high * factor
    if low == high:
        half = abs(low) / 2 or 0.5
        return low - half, high + half
    pad = margin * (high - low)
    return (0 if zero and low == 0 else low - pad), (0 if zero and high == 0 else high + pad)


def linear_ticks(low: float, high: float, count: int = 5) -> list[tuple[float, str]]:
    """Multiples of 1, 2 or 5 times a power of ten.

    Example:
        >>> [label for _, label in linear_ticks(0, 1.05)]
        ['0', '0.2', '0.4', '0.6', '0.8', '1.0']
        >>> [label for _, label in linear_ticks(0, 24_000)]
        ['0', '5k', '10k', '15k', '20k']
    """
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * min(_ROUND, key=lambda r: abs(math.log(r * power / raw)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(n * step, _label(n * step, step)) for n in range(first, last + 1)]


def log_ticks(low: float, high: float, count: int = 5) -> list[tuple[float, str]]:
    """Powers of ten, with 2 and 5 between them where there is room.

    Example:
        >>> [label for _, label in log_ticks(0.004, 20)]
        ['0.01', '0.1', '1', '10']
        >>> [label for _, label in log_ticks(1, 30)]
        ['1', '2', '5', '10', '20']
        >>> [label for _, label in log_ticks(3.3, 3.9)]
        ['3.3', '3.4', '3.5', '3.6', '3.7', '3.8', '3.9']
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        found = [d * 10.0**p for p in powers for d in digits if low <= d * 10.0**p <= high]
        if len(found) <= max(count, 2):
            break
    if len(found) < 2:  # a range between two powers of ten: its ends say more than none
        return linear_ticks(low, high, count)
    every = math.ceil(len(found) / max(count, 2))
    return [(v, f"{v:,.0f}" if 1 <= v < 1e5 else f"{v:g}") for v in found[::every]]


def _label(value: float, step: float) -> str:
    if value == 0:
        return "0"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if step >= size or (abs(value) >= 10 * size and step >= size / 10):
            return f"{value / size:g}{letter}".replace("-", "−")
    if step < 1e-4:
        return f"{value:.3g}".replace("-", "−")
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:.{digits}f}".replace("-", "−")
