"""What an audit leaves behind: a table of verdicts, a chapter for each question, and `audit.json`."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.audit.evidence import Answer
from limbeck.audit.findings import Finding
from limbeck.audit.outcome import Audit
from limbeck.audit.record import FORMAT
from limbeck.audit.statistics.verdicts import Verdict
from limbeck.audit.subjects import Member, Members
from limbeck.errors import ConfigError
from limbeck.files import atomic_write
from limbeck.runs.folder import StageFolder
from limbeck.runs.records import finite
from limbeck.version import __version__

FILE = "audit.json"
MOST_IN_WORDS = 3
"""With more methods than this the table of verdicts has marks alone."""
_SHARES = (
    "win_rate",
    "worst_class_drop",
    "worst_class_ap_drop",
    "worst_group_drop",
    "clean_accuracy",
    "shape_bias_decided",
    "phase_bias_decided",
)
"""Numbers of questions that are shares; the others have no unit."""
_WORDS = {
    Verdict.TRANSFERRED: "✓ transferred",
    Verdict.NOT_TRANSFERRED: "✗ not transferred",
    Verdict.CANNOT_TELL: "? cannot tell",
}


def write_audit(folder: StageFolder, audit: Audit, *, fail_on: Sequence[str] = ()) -> None:
    """Write everything that a stage of an audit leaves behind.

    Args:
        folder: of the stage.
        audit: judged.
        fail_on: conditions that must not hold.
    """
    broken = _checked(fail_on, audit)
    for number, (name, answer) in enumerate(audit.answers.items()):
        findings = [one for one in audit.findings if one.question == name]
        _write_answer(folder, name, answer, findings, number=number)
    folder.write_table("verdicts", verdict_table(audit))
    record = record_of(audit, fail_on=fail_on, broken=broken)
    atomic_write(folder.path / FILE, json.dumps(finite(record), indent=2, ensure_ascii=False) + "\n")
    counts = Counter(one.verdict for one in audit.findings if one.primary)
    folder.write_result(
        {
            "kind": "audit",
            "numbers": {
                "transferred": _count(counts[Verdict.TRANSFERRED], "higher"),
                "not_transferred": _count(counts[Verdict.NOT_TRANSFERRED], None),
                "cannot_tell": _count(counts[Verdict.CANNOT_TELL], "lower"),
                "images": _count(int(audit.data["images"]), None),
                **_headline(audit.quantities),
            },
            "by_method": finite(numbers_by_method(audit)),
            "audit": FILE,
            "broken": broken,
            "summary": f"Not passed: {'; '.join(broken)}." if broken else audit.summary,
            "components": [f"question:{name}" for name in audit.answers],
        }
    )


def record_of(audit: Audit, *, fail_on: Sequence[str] = (), broken: Sequence[str] = ()) -> dict[str, Any]:
    """The content of `audit.json`; its layout is `limbeck.audit.record.AuditRecord`."""
    panel = audit.panel
    return {
        "format": FORMAT,
        "limbeck": __version__,
        "teacher": panel.teacher.name,
        "students": [_member(one) for one in panel.students],
        "controls": [_member(one) for one in panel.controls],
        "placebos": [_member(one) for one in getattr(panel, "placebos", ())],
        "foreign": getattr(panel, "foreign", None) is not None,
        "data": dict(audit.data),
        "questions": list(audit.questions),
        "skipped": dict(audit.skipped),
        "statistics": dict(audit.statistics),
        "findings": [one.to_json() for one in audit.findings],
        "quantities": {name: dict(by) for name, by in audit.quantities.items()},
        "verdicts": {
            name: {method: str(one) for method, one in by.items()} for name, by in audit.verdicts.items()
        },
        "conditions": list(fail_on),
        "broken": list(broken),
    }


def numbers_by_method(audit: Audit) -> dict[str, dict[str, Any]]:
    """Every number with those whom it is about, as tables of published numbers ask for it.

    Args:
        audit: judged.

    Returns:
        Name of a number, such as `adversarial.fooled` -> its unit and, for teacher, control and each method, name
        of a network -> the number; where a question gives a mean alone, that of the method.
    """
    found: dict[str, dict[str, Any]] = {}
    for one in audit.findings:
        entry = found.setdefault(one.name, {"unit": one.unit, "of": {}})
        entry["of"][one.method] = dict(one.student.values)
        entry["of"]["control"] = dict(one.control.values)
        if one.kind == "trait":
            entry["of"]["teacher"] = {"teacher": one.teacher}
    for name, answer in audit.answers.items():
        for key, values in answer.numbers.items():
            if isinstance(values, Mapping):
                own = _grouped(audit.panel, values)
                unit = "fraction" if key in _SHARES or key.startswith("accuracy_") else ""
                found.setdefault(f"{name}.{key}", {"unit": unit, "of": own})
    return found


def _grouped(panel: Members, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Numbers of methods, or of single networks, under teacher, control and each method."""
    groups = {method: [one.name for one in panel.students if one.method == method] for method in panel.methods}
    groups |= {"control": [one.name for one in panel.controls], "teacher": [panel.teacher.name]}
    found = {}
    for group, names in groups.items():
        own = {name: values[name] for name in ([group] if group in values else names) if name in values}
        if own and all(value is None or isinstance(value, int | float) for value in own.values()):
            found[group] = own
    return found


def _member(one: Member) -> dict[str, Any]:
    return {"name": one.name, "method": one.method, "seed": one.seed}


def _checked(conditions: Sequence[str], audit: Audit) -> list[str]:
    """What is broken, in words; a condition that cannot be checked is not passed either."""
    broken: list[str] = []
    for text in conditions:
        try:
            broken += audit.broken(text)
        except ConfigError as error:
            broken.append(str(error))
    return broken


def _count(value: int, better: str | None) -> dict[str, Any]:
    return {"value": value, "unit": "count", **({"better": better} if better else {})}


def _headline(quantities: Mapping[str, Mapping[str, float | None]]) -> dict[str, Any]:
    """The numbers that a pipeline asks for most, of the method that does worst."""
    found = {}
    for name in ("worst_group_drop", "worst_class_drop", "worst_class_ap_drop"):
        every = quantities.get(name, {}).values()
        values = [value for value in every if value is not None and math.isfinite(value)]
        if values:
            found[name] = {"value": max(values), "unit": "fraction", "better": "lower"}
    return found


def verdict_table(audit: Audit) -> dict[str, Any]:
    """One row for each property, one column for each method; for a single method with the numbers beside it."""
    panel = audit.panel
    primary = [one for one in audit.findings if one.primary]
    rows: dict[str, dict[str, Any]] = {}
    alone, many = len(panel.methods) == 1, len(panel.methods) > MOST_IN_WORDS
    for one in primary:
        row = rows.setdefault(one.name, {"property": _sentence(one.title)})
        assert one.verdict is not None
        word = _WORDS[one.verdict][:1] if many else _WORDS[one.verdict]
        said = word if alone else f"{word} {difference_in_words(one, interval=False)}"
        row[f"verdict_{one.method}"] = said.rstrip()
        row["teacher"] = None if math.isnan(one.teacher) else number_in_words(one.teacher, one.unit)
        row["control"] = number_in_words(one.control.mean, one.unit)
        if alone:
            row["student"] = number_in_words(one.student.mean, one.unit)
            row["difference"] = difference_in_words(one)
    columns = [{"key": "property", "label": "Property"}]
    columns += [{"key": f"verdict_{method}", "label": "Verdict" if alone else method} for method in panel.methods]
    columns += [{"key": "teacher", "label": "teacher"}, {"key": "control", "label": "control"}]
    if alone:
        columns += [
            {"key": "student", "label": "student"},
            {"key": "difference", "label": "Towards the teacher"},
        ]
    return {
        "title": "Verdicts",
        "columns": columns,
        "rows": list(rows.values()),
        "lead": True,
        "note": _note(panel, primary, audit.skipped),
    }


def _note(panel: Members, primary: Sequence[Finding], skipped: Mapping[str, str]) -> str:
    seeds = max((one.seeds for one in primary), default=0)
    said = (
        "Transferred: students are more like the teacher than controls are, by more than seeds, images and the "
        "number of questions explain. Not transferred: an effect that matters is excluded. Numbers: difference of "
        f"student and control towards the teacher, with {_interval_in_words(primary)}."
    )
    if len(panel.methods) > MOST_IN_WORDS:
        said = "✓ transferred, ✗ not transferred, ? cannot tell. " + said
    if not panel.controls:
        said = "No control was given, so nothing can be said about transfer: numbers alone."
    elif seeds < 2:
        said += " One seed: the verdicts are about these networks, not about the method."
    if skipped:
        said += " Left out: " + "; ".join(f"{name} ({reason})" for name, reason in skipped.items()) + "."
    return said


def _interval_in_words(findings: Sequence[Finding]) -> str:
    return f"a {100 * findings[0].confidence:g} % interval" if findings else "an interval"


def _sentence(title: str) -> str:
    return title[:1].upper() + title[1:]


def number_in_words(value: float, unit: str) -> str:
    """A number as the table of verdicts shows it.

    Example:
        >>> number_in_words(0.523, "fraction"), number_in_words(-0.0712, "nats"), number_in_words(float("nan"), "")
        ('52.3 %', '−0.071 nats', '–')
    """
    if not math.isfinite(value):
        return "–"
    text = f"{100 * value:.1f} %" if unit == "fraction" else f"{value:.3f} {unit}".rstrip()
    return text.replace("-", "−")


def difference_in_words(one: Finding, *, interval: bool = True) -> str:
    """A difference with its interval: points for fractions."""
    if not math.isfinite(one.difference):
        return ""
    factor, digits = (100, 1) if one.unit == "fraction" else (1, 3)

    def said(value: float) -> str:
        return f"{factor * value:+.{digits}f}".replace("-", "−")

    text = said(one.difference)
    if interval and math.isfinite(one.low):
        text += f" [{said(one.low)}, {said(one.high)}]"
    return text


def _write_answer(
    folder: StageFolder, name: str, answer: Answer, findings: Sequence[Finding], *, number: int
) -> None:
    """The chapter of one question: verdicts in words, figures, pictures, and all numbers."""
    tables, figures, pictures = [], [], []
    for key, figure in answer.figures.items():
        folder.write_figure(f"{name}-{key}", figure)
        figures.append(f"{name}-{key}")
    for key, (png, title, caption) in answer.pictures.items():
        folder.write_image(f"{name}-{key}", png, f"{title}. {caption}")
        pictures.append(f"{name}-{key}")
    for key, table in answer.tables.items():
        folder.write_table(f"{name}-{key}", table)
        tables.append(f"{name}-{key}")
    if findings:
        folder.write_table(f"{name}-numbers", _numbers(findings))
        tables.append(f"{name}-numbers")
    lines = [
        (f"{_WORDS[one.verdict]} · {one.method} · {_sentence(one.title)}", one.reason)
        for one in findings
        if one.primary and one.verdict is not None
    ]
    notes = dict.fromkeys(one.note for one in findings if one.note)
    folder.write_chapter(
        f"{number:02d}-{name}",
        {
            "title": name.replace("_", " ").capitalize(),
            "lines": lines,
            "notes": list(notes),
            "figures": figures,
            "images": pictures,
            "tables": tables,
        },
    )


def _numbers(findings: Sequence[Finding]) -> dict[str, Any]:
    """Every number of a question, with its interval."""
    rows = []
    for one in findings:
        chance = number_in_words(one.chance, one.unit) if one.chance is not None else None
        rows.append(
            {
                "title": _sentence(one.title),
                "method": one.method,
                "teacher": None if math.isnan(one.teacher) else number_in_words(one.teacher, one.unit),
                "control": _spread(one.control.values, one.unit),
                "student": _spread(one.student.values, one.unit),
                "difference": difference_in_words(one),
                "p": None if math.isnan(one.p_corrected) else f"{one.p_corrected:.2g}",
                "chance": chance,
                "images": one.images,
                "seeds": one.seeds,
            }
        )
    return {
        "title": "All numbers",
        "columns": [
            {"key": "title", "label": "Number"},
            {"key": "method", "label": "Method"},
            {"key": "teacher", "label": "teacher"},
            {"key": "control", "label": "control (± sd)"},
            {"key": "student", "label": "student (± sd)"},
            {"key": "difference", "label": "Towards the teacher"},
            {"key": "p", "label": "p, corrected"},
            {"key": "chance", "label": "Chance"},
            {"key": "images", "label": "Images", "unit": "count"},
            {"key": "seeds", "label": "Seeds", "unit": "count"},
        ],
        "rows": rows,
        "note": "Towards the teacher: student less control, turned so that above zero is more like the teacher, "
        f"with {_interval_in_words(findings)} over images and seeds; points for shares.",
    }


def _spread(values: Mapping[str, float], unit: str) -> str | None:
    known = [value for value in values.values() if math.isfinite(value)]
    if not known:
        return None
    text = number_in_words(statistics.fmean(known), unit)
    if len(known) < 2:
        return text
    if unit == "fraction":
        return f"{text.removesuffix(' %')} ± {100 * statistics.stdev(known):.1f} %"
    return f"{text} ± {statistics.stdev(known):.3f}"
