"""Counts of pairs in a grid: what agrees on the diagonal in one colour, what differs in another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from limbeck.report.quantities import plain, quantity
from limbeck.report.svg import canvas, element, shortened, text_width

_NUMBERED = 14
"""Up to so many columns the cells hold their numbers."""


def draw_matrix(figure: Mapping[str, Any]) -> Markup:
    """Draw a matrix; the shade of a cell is the square root of its share of the row, or its share of `full`.

    Args:
        figure: `rows` and `columns` (names), `values` (a list a row), `x_label`, `y_label`, maybe `unit`; `full`,
            the value of the darkest shade, for numbers that are no counts.
    """
    full = figure.get("full")
    rows, columns = [str(n) for n in figure["rows"]], [str(n) for n in figure["columns"]]
    values = [[math.nan if v is None else float(v) for v in line] for line in figure["values"]]
    if len(values) != len(rows) or any(len(line) != len(columns) for line in values):
        raise ValueError(f"{len(rows)} rows and {len(columns)} columns are named, the values have another shape")
    numbered = len(columns) <= _NUMBERED
    cell = max(28.0, min(44.0, 300 / len(columns))) if numbered else 13.0
    upright = max((text_width(n) for n in columns), default=0) > cell - 4
    left = 24 + min(90, max((text_width(n) for n in rows), default=0))
    top = 26 + (min(90, max((text_width(n) for n in columns), default=0)) if upright else 12)
    x_label, y_label = str(figure.get("x_label") or ""), str(figure.get("y_label") or "")
    drawn = [
        *_names(rows, columns, cell, left, top, upright),
        element(
            "text", str(figure.get("x_label") or ""), x=left + cell * len(columns) / 2, y=11, class_="tick mid"
        ),
        element(
            "text",
            shortened(y_label, cell * len(rows)),
            class_="tick mid",
            transform=f"translate(11 {top + cell * len(rows) / 2:.1f}) rotate(-90)",
        ),
    ]
    for i, line in enumerate(values):
        total = sum(abs(v) for v in line if math.isfinite(v)) or 1.0
        for j, value in enumerate(line):
            if not math.isfinite(value) or (value == 0 and full is None):
                continue  # nothing was counted there; a share of nought is a finding
            text = quantity(value, figure.get("unit")) if figure.get("unit") else plain(value)
            about = f"{y_label or 'row'} {rows[i]}, {x_label or 'column'} {columns[j]}: {text}"
            agrees = i == j or rows != columns
            place = (left + cell * j, top + cell * i, cell)
            shade = math.sqrt(abs(value) / total) if full is None else min(abs(value) / float(full), 1.0)
            drawn += _cell(place, shade, agrees, about, text if numbered else "")
    frame = {"x": left, "y": top, "width": cell * len(columns), "height": cell * len(rows)}
    drawn.append(element("rect", **frame, class_="frame"))
    return canvas(
        left + cell * len(columns) + 2,
        top + cell * len(rows) + 2,
        drawn,
        label=_spoken(figure, rows, columns, values),
    )


def _names(
    rows: Sequence[str], columns: Sequence[str], cell: float, left: float, top: float, upright: bool
) -> list[Markup]:
    size = 12 if cell > 14 else 9
    small = "" if cell > 14 else " small"
    drawn = [
        element(
            "text", shortened(name, 90, size), x=left - 6, y=top + cell * (i + 0.5) + 4, class_=f"tick end{small}"
        )
        for i, name in enumerate(rows)
    ]
    for j, name in enumerate(columns):
        x = left + cell * (j + 0.5)
        if upright:
            turn = f"translate({x + 4:.1f} {top - 6:.1f}) rotate(-90)"
            drawn.append(element("text", shortened(name, 90, size), transform=turn, class_=f"tick{small}"))
        else:
            drawn.append(element("text", name, x=x, y=top - 7, class_=f"tick mid{small}"))
    return drawn


def _cell(place: tuple[float, float, float], shade: float, agrees: bool, about: str, text: str) -> list[Markup]:
    x, y, size = place
    kind = "same" if agrees else "other"
    box = element(
        "rect",
        element("title", about),
        x=x + 0.5,
        y=y + 0.5,
        width=size - 1,
        height=size - 1,
        class_=kind,
        fill_opacity=0.12 + 0.88 * min(shade, 1.0),
    )
    if not text or text_width(text) > size + 4:
        return [box]
    ink = "ink-on" if shade > 0.66 else "ink"
    return [box, element("text", text, x=x + size / 2, y=y + size / 2 + 4, class_=f"mid cell {ink}")]


def _spoken(
    figure: Mapping[str, Any], rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]]
) -> str:
    title = str(figure.get("title", "Matrix"))
    if figure.get("full") is not None:
        known = [v for line in values for v in line if math.isfinite(v)]
        if not known:
            return f"{title}: empty."
        ends = [quantity(v, figure["unit"]) if figure.get("unit") else plain(v) for v in (min(known), max(known))]
        return f"{title}: {len(rows)} rows, {len(columns)} columns, values from {ends[0]} to {ends[1]}."
    if list(rows) != list(columns):
        return f"{title}: {len(rows)} rows, {len(columns)} columns."
    pairs = [(v, i, j) for i, line in enumerate(values) for j, v in enumerate(line) if i != j and v > 0]
    worst = [f"{rows[i]} as {rows[j]} {plain(v)}" for v, i, j in sorted(pairs, reverse=True)[:5]]
    total = sum(v for line in values for v in line if math.isfinite(v))
    same = sum(values[i][i] for i in range(len(rows)) if math.isfinite(values[i][i]))
    share = f"{plain(same)} of {plain(total)} on the diagonal" if total else "empty"
    return f"{title}: {share}" + (f"; most frequent differences: {', '.join(worst)}." if worst else ".")
