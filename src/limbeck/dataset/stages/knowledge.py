"""What a search over budgets and labels says: the best age, the scaling law, the Pareto frontier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.dataset.config import SearchStage
from limbeck.dataset.real import Real
from limbeck.dataset.stages._shared import number
from limbeck.runs.folder import StageFolder

Row = Mapping[str, Any]


def write_knowledge(folder: StageFolder, config: SearchStage, rows: Sequence[Row], real: Real) -> None:
    """Tables and figures over all students of a search; what is chosen is chosen by validation."""
    best = best_labels(rows)
    _students(folder, rows, len(config.students.seeds))
    _best(folder, best)
    _by_age(folder, rows)
    _law(folder, rows)
    gains = [row["accuracy"] - row["hard"] for row in best]
    folder.write_result(
        {
            "kind": "evaluation",
            "numbers": {"accuracy": number(max(row["accuracy"] for row in best), "fraction", "higher")},
            "summary": "Best expert epoch by images per class: "
            + ", ".join(f"{row['ipc']}: {row['epoch']:g}" for row in best)
            + f". Soft labels gain {min(gains):+.1%} to {max(gains):+.1%} over hard ones on the same images.",
            "components": [],
        }
    )


def best_labels(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For each budget the whole soft label with the best validation accuracy, beside the hard one."""
    found = []
    for ipc in sorted({row["ipc"] for row in rows}):
        mine = [row for row in rows if row["ipc"] == ipc]
        hard = next(row for row in mine if row["epoch"] is None)
        soft = [row for row in mine if row["epoch"] is not None and row["k"] is None]
        chosen = max(soft, key=lambda row: row["validation"])
        found.append({**chosen, "hard": hard["accuracy"], "hard_sd": hard["accuracy_sd"]})
    return found


def _students(folder: StageFolder, rows: Sequence[Row], seeds: int) -> None:
    folder.write_table(
        "students",
        {
            "title": f"Random real images by budget and label, {seeds} seeds",
            "columns": [
                {"key": "ipc", "label": "Images per class", "unit": "count"},
                {"key": "label", "label": "Label"},
                {"key": "accuracy", "label": "Accuracy", "unit": "fraction", "better": "higher"},
                {"key": "accuracy_sd", "label": "± sd", "unit": "fraction"},
                {"key": "validation", "label": "Validation", "unit": "fraction", "better": "higher"},
                {"key": "expert", "label": "Expert's accuracy", "unit": "fraction"},
                {"key": "entropy", "label": "Entropy (nats)"},
                {"key": "mass", "label": "Mass kept", "unit": "fraction"},
            ],
            "rows": list(rows),
            "note": "Test accuracy after the last epoch. Labels: hard, or of an expert after e epochs, cut to its k largest "
            "entries where it says top.",
        },
    )


def _best(folder: StageFolder, best: Sequence[Row]) -> None:
    folder.write_table(
        "best",
        {
            "title": "Best age of the expert by budget",
            "columns": [
                {"key": "ipc", "label": "Images per class", "unit": "count"},
                {"key": "epoch", "label": "Expert epoch"},
                {"key": "expert", "label": "Expert's accuracy", "unit": "fraction"},
                {"key": "accuracy", "label": "Soft labels", "unit": "fraction", "better": "higher"},
                {"key": "accuracy_sd", "label": "± sd", "unit": "fraction"},
                {"key": "hard", "label": "Hard labels", "unit": "fraction", "better": "higher"},
                {"key": "hard_sd", "label": "± sd", "unit": "fraction"},
            ],
            "rows": list(best),
            "note": "Chosen by validation accuracy, reported on the test images.",
        },
    )


def _by_age(folder: StageFolder, rows: Sequence[Row]) -> None:
    series = []
    for ipc in sorted({row["ipc"] for row in rows}):
        mine = [row for row in rows if row["ipc"] == ipc and row["epoch"] is not None and row["k"] is None]
        mine.sort(key=lambda row: row["expert"])
        series.append(
            {
                "label": f"{ipc} per class",
                "x": [100 * row["expert"] for row in mine],
                "y": [row["accuracy"] for row in mine],
            }
        )
    folder.write_figure(
        "ages",
        {
            "title": "Which expert labels best",
            "caption": "Test accuracy of students of random images against the validation accuracy of the expert that "
            "labelled them, from young to mature.",
            "kind": "lines",
            "x_label": "expert's accuracy, %",
            "y_label": "student's accuracy",
            "unit": "fraction",
            "series": series,
        },
    )


def _law(folder: StageFolder, rows: Sequence[Row]) -> None:
    for epoch in sorted({row["epoch"] for row in rows if row["epoch"] is not None}):
        mine = [row for row in rows if row["epoch"] in (None, epoch)]
        names = {row["label"]: row["k"] for row in mine}
        if len({row["ipc"] for row in mine}) < 3:
            continue
        series = []
        for name in names:
            line = sorted((row for row in mine if row["label"] == name), key=lambda row: row["ipc"])
            shown = name if name == "hard" else ("whole" if names[name] is None else f"top {names[name]}")
            series.append({"label": shown, "x": [r["ipc"] for r in line], "y": [r["accuracy"] for r in line]})
        folder.write_figure(
            f"law-{epoch:g}",
            {
                "title": f"Data and knowledge, expert epoch {epoch:g}",
                "caption": "Test accuracy against images per class; a line for each amount of label.",
                "kind": "lines",
                "x_label": "images per class",
                "y_label": "accuracy",
                "unit": "fraction",
                "log_x": True,
                "series": series,
            },
        )
