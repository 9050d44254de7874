"""What the seeds of training add to the uncertainty of a difference between two kinds of networks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from limbeck.audit.statistics.estimates import Part
from limbeck.audit.subjects import Member, Members

Couples = tuple[tuple[Member, Member], ...]
"""Students with the control of their seed."""
Groups = tuple[Mapping[int | str, str], ...]
"""The controls and the students of each method: seed (without one of its own, the name) -> name."""


def groups_of(panel: Members) -> Groups:
    """The networks by what trained them.

    Args:
        panel: who is audited.
    """
    methods = [[one for one in panel.students if one.method == method] for method in panel.methods]
    return tuple(_by_seed(group) for group in (panel.controls, *methods) if group)


def over_seeds(
    values: Mapping[str, float],
    students: Sequence[str],
    controls: Sequence[str],
    groups: Groups,
    *,
    couples: Couples,
    per_seed: Mapping[str, float],
) -> tuple[Part, ...]:
    """Variance over seeds of students less controls, with its degrees of freedom.

    Three seeds say next to nothing about the spread of one method, so it is pooled over the controls and all
    methods, as an analysis of variance does: the same network on the same data, trained in several ways. Where
    every student has a control of its own seed the spread that remains beside seed and method is looked at too,
    and the larger one counts: couples that are alike by accident would make the difference far too certain.

    Args:
        values: of every network.
        students: of one method.
        controls: that they are compared with.
        groups: controls and methods of the audit.
        couples: students with the control of their seed, or nothing.
        per_seed: difference of each student to its control.

    Returns:
        Nothing for a single student, whose difference speaks about these networks alone.
    """
    count = len(students)
    if count < 2:
        return ()
    if couples and statistics.variance(per_seed.values()) <= 1e-24:
        return (Part(0.0, count - 1),)  # copies of each other, not an accident
    known = [[values[name] for name in group.values() if _is_finite(values, name)] for group in groups]
    spread = [found for found in known if len(found) > 1]
    freedom = sum(len(found) - 1 for found in spread)
    within = sum(statistics.variance(found) * (len(found) - 1) for found in spread) / freedom
    # One control has no spread of its own; trained alike, it would vary as the others do.
    apart = Part(within / count + within / len(controls), freedom)
    if not couples:
        return (apart,)
    return (max(_together(values, groups, couples), apart, key=lambda part: part.variance),)


def _by_seed(group: Sequence[Member]) -> dict[int | str, str]:
    found: dict[int | str, str] = {}
    for one in group:
        found[one.name if one.seed is None or one.seed in found else one.seed] = one.name
    return found


def _together(values: Mapping[str, float], groups: Groups, couples: Couples) -> Part:
    """What is left of the spread once seeds and methods have had their share, over groups of the same seeds."""
    seeds = [student.seed for student, _ in couples if student.seed is not None]
    rows = [
        [values[group[seed]] for seed in seeds]
        for group in groups
        if all(seed in group and _is_finite(values, group[seed]) for seed in seeds)
    ]
    count, whole = len(seeds), statistics.fmean(value for row in rows for value in row)
    columns = [statistics.fmean(row[at] for row in rows) for at in range(count)]
    left = sum(
        (value - statistics.fmean(row) - columns[at] + whole) ** 2 for row in rows for at, value in enumerate(row)
    )
    freedom = (len(rows) - 1) * (count - 1)
    return Part(2 * left / freedom / count, freedom)


def _is_finite(values: Mapping[str, float], name: str) -> bool:
    return name in values and math.isfinite(values[name])
