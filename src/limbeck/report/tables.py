"""Tables as plain text cells, the same for the page and for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.report.quantities import quantity

REFERENCE = "teacher"
"""A row of this name is something to compare with and is never marked as the best."""


@dataclass(frozen=True, slots=True)
class Table:
    """What any renderer needs to draw a table.

    Attributes:
        title: what it shows; the caption.
        headers: one a column.
        rows: cells as text.
        numeric: per column, whether its cells are numbers and stand flush right.
        best: (row, column) of the cells to be marked, counted from 0.
        note: a sentence below, or nothing.
    """

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    best: frozenset[tuple[int, int]] = frozenset()
    note: str = ""


def table_of(data: Mapping[str, Any]) -> Table:
    """A table as a stage wrote it, with its numbers made readable.

    A column `<key>_sd` is not shown by itself: it becomes the "± ..." of the column `<key>`.

    Args:
        data: title, columns (key, label, unit, better), rows, note.

    Example:
        >>> columns = [{"key": "m", "label": "Method"}, {"key": "a", "label": "Accuracy", "unit": "fraction"}]
        >>> table_of({"columns": columns, "rows": [{"m": "kd", "a": 0.913}]}).rows
        (('kd', '91.3 %'),)
    """
    given: Sequence[Mapping[str, Any]] = data["columns"]
    rows: Sequence[Mapping[str, Any]] = data["rows"]
    keys = {column["key"] for column in given}
    columns = [c for c in given if not (c["key"].endswith("_sd") and c["key"].removesuffix("_sd") in keys)]
    columns = [c for c in columns if any(row.get(c["key"]) is not None for row in rows)] or columns
    return Table(
        title=str(data.get("title", "")),
        headers=tuple(_header(column, rows) for column in columns),
        rows=tuple(
            tuple(quantity(row.get(c["key"]), c.get("unit"), sd=row.get(f"{c['key']}_sd")) for c in columns)
            for row in rows
        ),
        numeric=tuple(_is_numeric(column, rows) for column in columns),
        best=frozenset(cell for at, column in enumerate(columns) for cell in _best(column, at, rows, columns[0])),
        note=str(data.get("note") or ""),
    )


def _header(column: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    label = str(column.get("label", column["key"]))
    has_spread = any(row.get(f"{column['key']}_sd") is not None for row in rows)
    return f"{label} (± sd)" if has_spread else label


def _is_numeric(column: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    values = [row.get(column["key"]) for row in rows]
    return all(_reads_as_number(value) for value in values) and any(value is not None for value in values)


def _best(
    column: Mapping[str, Any], at: int, rows: Sequence[Mapping[str, Any]], first: Mapping[str, Any]
) -> list[tuple[int, int]]:
    better = column.get("better")
    values = {
        number: row[column["key"]]
        for number, row in enumerate(rows)
        if _is_number(row.get(column["key"])) and row.get(first["key"]) != REFERENCE
    }
    if better not in ("higher", "lower") or len(set(values.values())) < 2:
        return []
    top = (max if better == "higher" else min)(values.values())
    return [(number, at) for number, value in values.items() if value == top]


def _reads_as_number(value: Any) -> bool:
    if isinstance(value, str):
        return value[:1].isdigit()  # "3 of 3"
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
