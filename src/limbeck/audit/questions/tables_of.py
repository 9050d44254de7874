"""Numbers of an examination's networks brought into the forms that reports show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.audit.subjects import Panel


def averages(panel: Panel, values: Mapping[str, float]) -> dict[str, float]:
    """The teacher's value where there is one, and the mean of each method's students and of the controls.

    Args:
        panel: the networks.
        values: name of a network -> its number.
    """
    found = {"teacher": values[panel.teacher.name]} if panel.teacher.name in values else {}
    groups = [(method, [s for s in panel.students if s.method == method]) for method in panel.methods]
    for label, members in (*groups, ("control", list(panel.controls))):
        known = [values[member.name] for member in members if member.name in values]
        if known:
            found[label] = sum(known) / len(known)
    return found


def curves(panel: Panel, x: Sequence[float], values: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    """One series for the teacher, each method's mean and the controls' mean, for a figure of lines.

    Args:
        panel: the networks.
        x: places along the axis.
        values: at each place, name of a network -> its number.
    """
    means = [averages(panel, row) for row in values]
    return [{"label": label, "x": list(x), "y": [row[label] for row in means]} for label in means[0]]
