"""What a search over budgets and labels says: the best age, the scaling law, the Pareto frontier."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.dataset.config import SearchStage
from limbeck.dataset.labels import label_bytes
from limbeck.dataset.pareto import Point, frontier
from limbeck.dataset.real import Real
from limbeck.dataset.scaling_law import LEAST_POINTS, data_equivalence, fit
from limbeck.dataset.stages._shared import number
from limbeck.runs.folder import StageFolder

Row = Mapping[str, Any]
LEAST_SEEDS = 3
"""Fewer students than this say nothing of their own spread."""


def write_knowledge(folder: StageFolder, config: SearchStage, rows: Sequence[Row], real: Real) -> None:
    """Tables and figures over all students of a search; what is chosen is chosen by validation."""
    best = best_labels(rows)
    _students(folder, rows, len(config.students.seeds))
    _best(folder, best)
    _bars(folder, best)
    _by_age(folder, rows)
    _law(folder, rows)
    _fits(folder, rows)
    _frontier(folder, rows, config, real)
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
            "note": "Test accuracy after the last epoch. Labels: hard, or of an expert after e epochs, cut to "
            "its k largest "
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


def _bars(folder: StageFolder, best: Sequence[Row]) -> None:
    bars = []
    for row in best:
        bars.append({"label": f"{row['ipc']} per class, hard", "value": row["hard"], "error": row["hard_sd"]})
        name = f"{row['ipc']} per class, epoch {row['epoch']:g}"
        bars.append({"label": name, "value": row["accuracy"], "error": row["accuracy_sd"]})
    folder.write_figure(
        "best",
        {
            "title": "Hard labels and the best age of an expert",
            "caption": "Test accuracy of students of random real images, mean over seeds with one standard "
            "deviation.",
            "kind": "bars",
            "unit": "fraction",
            "bars": bars,
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
            "caption": "Test accuracy of students of random images against the validation accuracy of the "
            "expert that "
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


def _fits(folder: StageFolder, rows: Sequence[Row]) -> None:
    """The law of each label, and what it is worth in images with hard labels."""
    hard = sorted((row for row in rows if row["epoch"] is None), key=lambda row: row["ipc"])
    lines = []
    for name in dict.fromkeys(row["label"] for row in rows):
        mine = sorted((row for row in rows if row["label"] == name), key=lambda row: row["ipc"])
        if len(mine) < LEAST_POINTS:
            continue
        images, values = [row["ipc"] for row in mine], [row["accuracy"] for row in mine]
        found = fit(images, values, errors_of(mine))
        worth = data_equivalence(images, values, [r["ipc"] for r in hard], [r["accuracy"] for r in hard])
        finite = [w for w in worth if math.isfinite(w)]
        lines.append(
            {
                "label": name,
                "form": found.form,
                "a": found.parameters[0],
                "b": found.parameters[1],
                "c": found.parameters[2],
                "residual": found.residual,
                "worth": math.exp(sum(map(math.log, finite)) / len(finite)) if finite else None,
                "beyond": sum(w == math.inf for w in worth),
            }
        )
    if not lines:
        return
    folder.write_table(
        "law",
        {
            "title": "The data-knowledge scaling law",
            "columns": [
                {"key": "label", "label": "Label"},
                {"key": "form", "label": "Form"},
                {"key": "a", "label": "a"},
                {"key": "b", "label": "b or n0"},
                {"key": "c", "label": "c"},
                {"key": "residual", "label": "Residual", "unit": "fraction", "better": "lower"},
                {"key": "worth", "label": "Worth in hard-labelled images", "better": "higher"},
                {"key": "beyond", "label": "Budgets beyond the hard curve", "unit": "count"},
            ],
            "rows": lines,
            "note": "power: a - b n^-c; logistic: a / (1 + (n0 / n)^c); n images per class; the better one by "
            "AICc. Worth: "
            "how many times the images the same accuracy takes with hard labels, geometric mean over budgets "
            "where the "
            "curve of hard labels gets that far.",
        },
    )


def errors_of(rows: Sequence[Row]) -> list[float] | None:
    """Standard errors to weigh points by; none where too few seeds make them a matter of luck."""
    return [_error(row) for row in rows] if all(row["students"] >= LEAST_SEEDS for row in rows) else None


def _error(row: Row) -> float:
    """Standard error of a row's mean."""
    return float(row["accuracy_sd"]) / math.sqrt(row["students"])


def _frontier(folder: StageFolder, rows: Sequence[Row], config: SearchStage, real: Real) -> None:
    """The choices of budget and label that nothing beats, with the bytes of both."""
    pixels = math.prod(real.image_shape)
    points, about = [], {}
    for row in rows:
        images = row["ipc"] * real.classes
        kept = 0 if row["epoch"] is None else row["k"]
        size = images * pixels + label_bytes(images, real.classes, k=kept, dtype=config.label_dtype)
        name = f"{row['ipc']} {row['label']}"
        about[name] = {**row, "bytes": size}
        points.append(Point((float(row["ipc"]), float(size)), row["validation"], _error(row), name))
    best = frontier(points)
    by_images = frontier([Point(p.costs[:1], p.accuracy, p.error, p.name) for p in points], z=0)
    folder.write_table(
        "frontier",
        {
            "title": "Choices that nothing beats",
            "columns": [
                {"key": "ipc", "label": "Images per class", "unit": "count"},
                {"key": "label", "label": "Label"},
                {"key": "bytes", "label": "Bytes", "unit": "bytes", "better": "lower"},
                {"key": "accuracy", "label": "Accuracy", "unit": "fraction", "better": "higher"},
                {"key": "accuracy_sd", "label": "± sd", "unit": "fraction"},
                {"key": "expert", "label": "Expert's accuracy", "unit": "fraction"},
            ],
            "rows": [about[p.name] for p in best],
            "note": "Chosen by validation accuracy: no other choice has as few images and as few bytes and is "
            "better "
            "by more than a standard error of the difference. Shown is test accuracy.",
        },
    )
    hard = sorted((row for row in rows if row["epoch"] is None), key=lambda row: row["ipc"])
    folder.write_figure(
        "frontier",
        {
            "title": "Pareto frontier of data and knowledge",
            "caption": "The label with the best validation accuracy at each number of images, and its test "
            "accuracy: "
            + ", ".join(f"{p.name.replace(' ', ': ', 1)}" for p in by_images)
            + ". Hard labels below it.",
            "kind": "lines",
            "x_label": "images per class",
            "y_label": "accuracy",
            "unit": "fraction",
            "log_x": True,
            "series": [
                {
                    "label": "best label",
                    "x": [p.costs[0] for p in by_images],
                    "y": [about[p.name]["accuracy"] for p in by_images],
                },
                {"label": "hard labels", "x": [r["ipc"] for r in hard], "y": [r["accuracy"] for r in hard]},
            ],
        },
    )
