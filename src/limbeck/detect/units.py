"""Numbers as a result has them."""

from __future__ import annotations

from typing import Any


def number(value: float, unit: str, better: str | None = None) -> dict[str, Any]:
    """A number with its unit.

    Args:
        value: of it.
        unit: "fraction", "points", "count", "epoch", "s", "B".
        better: "higher" or "lower", where one of them is.

    Example:
        >>> number(0.5, "fraction", "higher")
        {'value': 0.5, 'unit': 'fraction', 'better': 'higher'}
    """
    return {"value": value, "unit": unit, **({"better": better} if better else {})}
