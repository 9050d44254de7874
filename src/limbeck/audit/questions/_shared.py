"""What several questions need: numbers of everyone, means by method, bars of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from limbeck.audit.subjects import Panel, Subject
from limbeck.audit.tally import Tally, share

TEACHER = "teacher"
CONTROL = "control"


def of_learners(panel: Panel, measured: Callable[[Subject], Tensor | Tally]) -> dict[str, Tally]:
    """A number of every student and control; per-image values become their mean.

    Args:
        panel: who is audited.
        measured: from a subject to per-image values, shape (n,), or a tally.
    """
    return _of(panel.learners, measured)


def of_everyone(panel: Panel, measured: Callable[[Subject], Tensor | Tally]) -> dict[str, Tally]:
    """As `of_learners`, with the teacher's number among them."""
    return _of(panel, measured)


def _of(subjects: Iterable[Subject], measured: Callable[[Subject], Tensor | Tally]) -> dict[str, Tally]:
    found = {subject.name: measured(subject) for subject in subjects}
    return {name: one if isinstance(one, Tally) else share(one) for name, one in found.items()}


def by_method(panel: Panel, tallies: Mapping[str, Tally]) -> dict[str, list[float]]:
    """Method -> the number of each of its seeds; controls under their own name, the teacher first."""
    found: dict[str, list[float]] = {}
    for subject in (panel.teacher, *panel.controls, *panel.students, *panel.placebos):
        if subject.name in tallies:
            word = TEACHER if subject is panel.teacher else subject.method
            found.setdefault(word, []).append(tallies[subject.name].value)
    return found


def bars(
    panel: Panel,
    tallies: Mapping[str, Tally],
    *,
    title: str,
    caption: str,
    unit: str = "fraction",
    chance: float | None = None,
) -> dict[str, Any]:
    """A figure of one number by method, with a line for the teacher's."""
    found = by_method(panel, tallies)
    references = [{"label": TEACHER, "value": found.pop(TEACHER)[0]}] if TEACHER in found else []
    if chance is not None:
        references.append({"label": "chance", "value": chance})
    return {
        "title": title,
        "caption": caption,
        "kind": "bars",
        "unit": unit,
        "bars": [
            {
                "label": method,
                "value": statistics.fmean(values),
                "error": statistics.stdev(values) if len(values) > 1 else None,
                "points": values,
            }
            for method, values in found.items()
        ],
        "references": references,
    }


def method_means(panel: Panel, values: Mapping[str, float]) -> dict[str, float]:
    """Method -> mean over its seeds, of a number of each subject; the teacher's under its own name.

    Args:
        panel: who is audited.
        values: name of a subject -> number.
    """
    found: dict[str, list[float]] = {}
    for subject in panel:
        if subject.name in values:
            word = TEACHER if subject is panel.teacher else subject.method
            found.setdefault(word, []).append(values[subject.name])
    return {method: statistics.fmean(one) for method, one in found.items()}


def representatives(panel: Panel) -> list[Subject]:
    """One network of each kind for pictures: the teacher, the first control, the first student of each method."""
    students = {student.method: student for student in reversed(panel.students)}
    return [panel.teacher, *panel.controls[:1], *(students[method] for method in panel.methods)]
