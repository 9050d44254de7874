"""Numbers as people write them: with their unit and no more digits than they are worth."""

from __future__ import annotations

import math
from typing import Any

MISSING = "–"
"""Stands where there is no number."""
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def quantity(value: Any, unit: str | None = None, *, sd: float | None = None) -> str:
    """A value with its unit, for a reader.

    Args:
        value: a number; text is given back as it is, nothing at all as a dash.
        unit: "fraction" is shown in percent; "points", "count", "s", "bytes" and "FLOP ..." have a form of
            their own; any other unit is appended.
        sd: standard deviation, shown after the value where there is one.

    Example:
        >>> quantity(0.9134, "fraction", sd=0.0042), quantity(12_431, "count"), quantity(72, "s")
        ('91.3 ± 0.4 %', '12.4k', '1 min 12 s')
        >>> quantity(3.21e6, "FLOP per image"), quantity(-1.24, "points"), quantity(None, "s")
        ('3.21 MFLOPs', '−1.2 points', '–')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return MISSING
    if not isinstance(value, int | float):
        return str(value)
    if unit == "fraction":
        return _with_spread(100 * value, None if sd is None else 100 * sd) + " %"
    if unit == "s":
        return duration(value)
    if unit == "count":
        return f"{value:,.0f}" if abs(value) < 10_000 else _prefixed(value).replace(" ", "").replace("G", "B")
    if unit == "bytes":
        return _prefixed(value) + "B"
    if unit is not None and unit.startswith("FLOP"):
        return _prefixed(value) + "FLOPs"
    if unit == "points":
        return f"{value:+.1f} points".replace("-", "−")
    text = plain(value) + (f" ± {plain(sd)}" if sd is not None else "")
    return f"{text} {unit}" if unit and unit != "epoch" else text


def plain(value: float) -> str:
    """A bare number with four significant digits.

    Example:
        >>> plain(0.123456), plain(12), plain(1234567.0), plain(0.00001)
        ('0.1235', '12', '1,234,567', '1e-05')
    """
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}".replace("-", "−")
    text = f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return text if "e" in text else text.replace("-", "−")


def duration(seconds: float) -> str:
    """A time span in its two largest units.

    Example:
        >>> duration(0.042), duration(3.21), duration(59.7), duration(7_500), duration(200_000)
        ('42 ms', '3.2 s', '1 min 0 s', '2 h 5 min', '2 d 8 h')
    """
    if seconds < 0.1:
        return f"{1000 * seconds:.2g} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def _with_spread(value: float, spread: float | None) -> str:
    digits = 2 if spread is not None and 0 < spread < 0.095 else 1
    text = f"{value:.{digits}f}".replace("-", "−")
    return text if spread is None else f"{text} ± {spread:.{digits}f}"


def _prefixed(value: float) -> str:
    for size, prefix in _PREFIXES:
        if abs(value) >= 0.9995 * size:
            return f"{float(f'{value / size:.3g}'):g} {prefix}"
    return f"{value:.3g} "
