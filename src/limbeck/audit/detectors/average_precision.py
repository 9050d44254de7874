"""How good every detector is, and which class a student loses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from limbeck.audit.detectors._registry import register
from limbeck.audit.detectors.examination import DetectorExamination
from limbeck.audit.evidence import Answer
from limbeck.errors import MissingExtraError
from limbeck.measures.detection import coco_scores, tide_errors
from limbeck.measures.detection.average_precision import require_library


@register
def average_precision(exam: DetectorExamination) -> Answer:
    """COCO's scores of all detectors, by class, and the class at which a student falls furthest.

    `worst_class_ap_drop` of a student is the largest loss of AP of a class against the mean of the controls
    (against the teacher where there is no control), not below 0. Where COCO's scores cannot be computed because
    the extra `detect` is not installed, only `AP50` is given, from Limbeck's own matching.

    Args:
        exam: the sitting.
    """
    try:
        require_library()
    except MissingExtraError:
        return _without_library(exam)
    scores = {
        subject.name: coco_scores(
            exam.predictions(subject),
            exam.truth,
            classes=len(exam.class_names),
            class_names=list(exam.class_names),
        )
        for subject in exam.panel
    }
    by_class = {name: one.by_class for name, one in scores.items()}
    reference = [control.name for control in exam.panel.controls] or [exam.panel.teacher.name]
    level = {
        label: math.fsum(by_class[name][label] for name in reference) / len(reference)
        for label in exam.class_names
    }
    drops = {student.name: _worst(level, by_class[student.name]) for student in exam.panel.students}
    return Answer(
        tables={"average_precision-classes": _table(exam, by_class, {n: s.AP for n, s in scores.items()})},
        numbers={
            "AP": {name: _number(one.AP) for name, one in scores.items()},
            "AP50": {name: _number(one.AP50) for name, one in scores.items()},
            "AP_by_class": {
                name: {k: _number(v) for k, v in one.by_class.items()} for name, one in scores.items()
            },
            "worst_class": {name: label for name, (label, _) in drops.items()},
            "worst_class_ap_drop": {name: drop for name, (_, drop) in drops.items()},
            "drop_from": "controls" if exam.panel.controls else "teacher",
        },
    )


def _without_library(exam: DetectorExamination) -> Answer:
    found = {}
    for subject in exam.panel:
        value = tide_errors(exam.predictions(subject), exam.truth, classes=len(exam.class_names)).AP
        found[subject.name] = _number(value)
    return Answer(numbers={"AP50": found})


def _worst(level: Mapping[str, float], mine: Mapping[str, float]) -> tuple[str | None, float]:
    drops = {label: value - mine[label] for label, value in level.items() if not math.isnan(value - mine[label])}
    if not drops:
        return None, 0.0
    label = max(drops, key=drops.__getitem__)
    return (label, drops[label]) if drops[label] > 0 else (None, 0.0)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _table(
    exam: DetectorExamination, by_class: Mapping[str, Mapping[str, float]], over_all: Mapping[str, float]
) -> dict[str, Any]:
    """A row a class, the students of a method and the controls as their means."""
    groups: dict[str, list[str]] = {}
    for subject in exam.panel:
        groups.setdefault(subject.method or subject.name, []).append(subject.name)
    keys = {title: f"g{number}" for number, title in enumerate(groups)}

    def row(title: str, values: Mapping[str, float]) -> dict[str, Any]:
        means = {t: math.fsum(values[n] for n in names) / len(names) for t, names in groups.items()}
        return {"class": title, **{keys[t]: _number(mean) for t, mean in means.items()}}

    return {
        "title": "Average precision of each class",
        "columns": [
            {"key": "class", "label": "Class"},
            *({"key": key, "label": title, "unit": "fraction"} for title, key in keys.items()),
        ],
        "rows": [
            row("all", over_all),
            *(row(label, {name: one[label] for name, one in by_class.items()}) for label in exam.class_names),
        ],
        "note": "Means over seeds." if any(len(names) > 1 for names in groups.values()) else "",
    }
