"""Which choices of images and labels nothing else beats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """One choice and what it came to.

    Attributes:
        costs: what it takes, e.g. (images per class,) or (images per class, bytes of labels); less is better.
        accuracy: a fraction.
        error: standard error of the accuracy.
        name: of the choice.
    """

    costs: tuple[float, ...]
    accuracy: float
    error: float = 0.0
    name: str = ""


def dominates(one: Point, other: Point, *, z: float = 1.0) -> bool:
    """Whether a choice costs no more and is better by more than chance, or costs less and is as good.

    Args:
        one: a choice.
        other: another.
        z: by so many standard errors of the difference.
    """
    if any(a > b for a, b in zip(one.costs, other.costs, strict=True)):
        return False
    margin = z * math.hypot(one.error, other.error)
    if one.accuracy - other.accuracy > margin:
        return True
    cheaper = any(a < b for a, b in zip(one.costs, other.costs, strict=True))
    return cheaper and one.accuracy >= other.accuracy


def frontier(points: Sequence[Point], *, z: float = 1.0) -> list[Point]:
    """The choices that no other one dominates, by costs.

    Args:
        points: all choices.
        z: a better accuracy counts if it is so many standard errors better; with 0 every difference does.
    """
    kept = [p for p in points if not any(dominates(q, p, z=z) for q in points if q is not p)]
    return sorted(kept, key=lambda p: (*p.costs, p.accuracy))
