"""A published table with our numbers, as text for a terminal, Markdown, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from limbeck.recipes.published import PublishedTable
from limbeck.recipes.reproduction import Reproduced

MISSING = "–"
WIDTH = 80
"""Columns of a terminal that is none."""
_GAP = "  "
_SHOWN_CHANGES = 8


def written(
    style: str, name: str, table: PublishedTable, cells: Sequence[Reproduced], *, width: int = WIDTH
) -> str:
    """A table in one of the formats.

    Args:
        style: "text", "markdown", "json" or "csv".
        name: of the table.
        table: as published.
        cells: with our numbers, in the table's order.
        width: of the terminal, for text.
    """
    if style == "json":
        return json.dumps(_data(name, table, cells), indent=2, ensure_ascii=False)
    if style == "csv":
        return _csv(cells)
    return _markdown(table, cells) if style == "markdown" else _text(table, cells, width)


def theirs(cell: Reproduced) -> str:
    """The published number, with its spread where one was given, and a question mark where it was not verified."""
    spread = "" if cell.cell.spread is None else f" ±{cell.cell.spread:.2f}"
    return f"{cell.cell.reported:.2f}{spread}{'' if cell.cell.verified else '?'}"


def ours(cell: Reproduced) -> str:
    """Our mean, its deviation and the number of seeds; a star where runs were changed against the recipe."""
    if cell.mean is None:
        return f"{MISSING}{'*' if cell.changed else ''}"
    spread = "" if cell.deviation is None else f" ±{cell.deviation:.2f}"
    return f"{cell.mean:.2f}{spread} ({len(cell.trials)}){'' if cell.faithful else '*'}"


def difference(cell: Reproduced) -> str:
    """Ours minus theirs."""
    if cell.difference is None:
        return MISSING
    # Adding zero turns a rounded −0.0 into 0.0.
    return f"{round(cell.difference, 2) + 0.0:+.2f}".replace("-", "−")


_PARTS = (("theirs", theirs), ("ours", ours), ("diff", difference))


def _text(table: PublishedTable, cells: Sequence[Reproduced], width: int) -> str:
    """Columns side by side as far as they fit, the others below."""
    places = {(c.cell.row, c.cell.column): c for c in cells}
    label = max(len(row) for row in table.rows)
    blocks: list[list[str]] = []
    room = 0
    for column in table.columns:
        lines = _column(column, table.rows, places)
        needed = len(_GAP) + max(map(len, lines))
        if not blocks or needed > room:
            blocks.append([row.ljust(label) for row in ("", "", *table.rows)])
            room = width - label
        blocks[-1] = [f"{left}{_GAP}{right}" for left, right in zip(blocks[-1], lines, strict=True)]
        room -= needed
    parts = [table.heading]
    parts += ["\n".join(line.rstrip() for line in _without_empty(block, label)) for block in blocks]
    parts.append("\n".join(_footnotes(table, cells)))
    return "\n\n".join(part for part in parts if part)


def _column(column: str, rows: Sequence[str], places: dict[tuple[str, str], Reproduced]) -> list[str]:
    """A column's name, its three headers, and its cells, each line as wide as the others."""
    texts = [[say(places[row, column]) if (row, column) in places else "" for _, say in _PARTS] for row in rows]
    widths = [max(len(header), *(len(text[at]) for text in texts)) for at, (header, _) in enumerate(_PARTS)]
    body = [
        _GAP.join(text.rjust(wide) for text, wide in zip(line, widths, strict=True))
        for line in ([header for header, _ in _PARTS], *texts)
    ]
    wide = max(len(column), len(body[0]))
    return [column.ljust(wide), *(line.ljust(wide) for line in body)]


def _without_empty(block: Sequence[str], label: int) -> list[str]:
    """A block without the rows that have nothing in its columns."""
    return [line for number, line in enumerate(block) if number < 2 or line[label:].strip()]


def _footnotes(table: PublishedTable, cells: Sequence[Reproduced]) -> list[str]:
    lines = [table.note] if table.note else []
    if any(c.trials for c in cells):
        lines.append("ours: mean ± standard deviation over (seeds). diff: ours − theirs.")
    if any(not c.cell.verified for c in cells):
        lines.append("?: not looked up in the publication itself.")
    changed = {trial.path: trial.changes for c in cells for trial in c.changed}
    if changed:
        lines.append("*: there are runs that were changed against the recipe; --any counts them:")
        for path, changes in list(changed.items())[:_SHOWN_CHANGES]:
            more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
            lines.append(f"   {path}: {changes[0]}{more}")
        if len(changed) > _SHOWN_CHANGES:
            lines.append(f"   and {len(changed) - _SHOWN_CHANGES} more")
    return lines


def _markdown(table: PublishedTable, cells: Sequence[Reproduced]) -> str:
    places = {(c.cell.row, c.cell.column): c for c in cells}
    headers = [part for column in table.columns for part in (column, "ours", "diff")]
    lines = [
        f"**{_escaped(table.title)}** {table.heading.removeprefix(table.title).strip()}",
        "",
        "| | " + " | ".join(map(_escaped, headers)) + " |",
        "|---|" + "---:|" * len(headers),
    ]
    for row in table.rows:
        found = [places.get((row, column)) for column in table.columns]
        texts = [say(cell) if cell is not None else "" for cell in found for _, say in _PARTS]
        lines.append(f"| {_escaped(row)} | " + " | ".join(map(_escaped, texts)) + " |")
    notes = _footnotes(table, cells)
    return "\n".join([*lines, *(["", *(_escaped(note) + "  " for note in notes)] if notes else [])])


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


def _data(name: str, table: PublishedTable, cells: Sequence[Reproduced]) -> dict[str, Any]:
    return {
        "name": name,
        "title": table.title,
        "unit": table.unit,
        "better": table.better,
        "note": table.note,
        "cells": [
            {
                **c.cell.model_dump(mode="json"),
                "ours": c.mean,
                "sd": c.deviation,
                "n": len(c.trials),
                "difference": c.difference,
                "faithful": c.faithful if c.trials else None,
                "trials": [_trial(trial) for trial in c.trials],
                "left_out": [_trial(trial) for trial in c.left_out],
            }
            for c in cells
        ],
    }


def _trial(trial: Any) -> dict[str, Any]:
    return {"run": trial.path, "seed": trial.seed, "value": trial.value, "changes": list(trial.changes)}


_FIELDS = (
    "row",
    "column",
    "recipe",
    "variant",
    "stage",
    "number",
    "reported",
    "spread",
    "source",
    "verified",
    "note",
    "reason",
)


def _csv(cells: Sequence[Reproduced]) -> str:
    """One line a cell."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*_FIELDS, "ours", "sd", "n", "difference", "faithful", "runs"])
    for c in cells:
        published = c.cell.model_dump(mode="json")
        runs = ";".join(trial.path for trial in c.trials)
        found = [c.mean, c.deviation, len(c.trials), c.difference, c.faithful if c.trials else None, runs]
        writer.writerow(["" if v is None else v for v in [*(published[f] for f in _FIELDS), *found]])
    return file.getvalue().rstrip("\n")
