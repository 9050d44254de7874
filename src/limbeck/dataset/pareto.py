"""Which choices of images and labels nothing else beats.

[qin2024label] draws the best accuracy of any label at each budget; how to count chance and storage is ours.
Choose by accuracy on validation images and report that on test images: the best of many choices has had luck too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.seeding import generator


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

    Raises:
        DataError: they count different costs.
    """
    if len(one.costs) != len(other.costs):
        raise DataError(
            f"choices are compared by the same costs; '{one.name}' has {len(one.costs)}, '{other.name}' "
            f"{len(other.costs)}."
        )
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

    Raises:
        DataError: numbers that are not finite, or choices that count different costs.
        ConfigError: a negative z.
    """
    if not z >= 0:
        raise ConfigError(f"z: {z} standard errors; it is at least 0.")
    for p in points:
        if not all(map(math.isfinite, (*p.costs, p.accuracy, p.error))):
            raise DataError(f"the choice '{p.name}' has numbers that are not finite: {p}.")
    kept = [p for p in points if not any(dominates(q, p, z=z) for q in points if q is not p)]
    return sorted(kept, key=lambda p: (*p.costs, p.accuracy))


@dataclass(frozen=True)
class Band:
    """What can be reached with a budget, and how sure that is.

    Attributes:
        cost: the budget.
        low: lower end of the interval.
        accuracy: of the best choice that costs no more, by the means over seeds.
        high: upper end of the interval.
    """

    cost: float
    low: float
    accuracy: float
    high: float


def band(
    costs: Sequence[float],
    accuracies: Sequence[Sequence[float]],
    *,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> list[Band]:
    """The best accuracy within each budget, with an interval of the percentile bootstrap over seeds.

    Every draw takes the seeds of every choice anew, with replacement, and looks for the best choice again, so the
    interval holds the luck of choosing too and may lie above the accuracy. A choice of one seed does not vary.

    Args:
        costs: of each choice.
        accuracies: of each choice, one a seed.
        level: share of the draws within the interval, between 0 and 1.
        draws: of the bootstrap.
        seed: of the draws.

    Returns:
        One for each different cost, rising.

    Raises:
        DataError: no choices, a choice without seeds, or numbers that are not finite.
        ConfigError: a level outside 0 to 1, or no draws.
    """
    if not 0 < level < 1 or draws < 1:
        raise ConfigError(f"level is between 0 and 1 and draws at least 1; got {level} and {draws}.")
    if not costs or len(costs) != len(accuracies) or not all(accuracies):
        raise DataError(
            f"each choice has a cost and at least one accuracy; got {len(costs)} costs and seeds "
            f"{[len(a) for a in accuracies]}."
        )
    if not all(math.isfinite(v) for values in (costs, *accuracies) for v in values):
        raise DataError("costs and accuracies are finite numbers; a student may have diverged.")
    order = sorted(range(len(costs)), key=lambda i: costs[i])
    means, again = [], []
    for i in order:
        values = torch.tensor(accuracies[i], dtype=torch.float64)
        # A stream of its own for each choice: another one more or less leaves the draws of the rest.
        rows = torch.randint(len(values), (draws, len(values)), generator=generator(seed, "frontier", i))
        means.append(values.mean())
        again.append(values[rows].mean(1))
    best = torch.stack(means).cummax(0).values
    reached = torch.stack(again).cummax(0).values
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    found: dict[float, Band] = {}
    for row, i in enumerate(order):
        low, high = _floats(reached[row].quantile(ends))
        found[costs[i]] = Band(costs[i], low, float(best[row]), high)  # of equal costs the last holds them all
    return list(found.values())


def _floats(values: Tensor) -> list[float]:
    found: list[float] = values.tolist()
    return found
