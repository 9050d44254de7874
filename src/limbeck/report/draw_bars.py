"""Values side by side, lying down so that names can be read: bars from zero, or dots where zero is far away."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from limbeck.report.axes import Scale, span
from limbeck.report.quantities import quantity
from limbeck.report.svg import OWN, canvas, element, shortened, text_width

BASELINE = "control"
"""A bar of this name is what the others are measured against; a line goes through all rows at its value."""


@dataclass(frozen=True)
class _Row:
    label: str
    value: float
    error: float | None
    points: list[float]
    text: str


@dataclass(frozen=True)
class _Layout:
    """Beside: name, bar and value in one line. Stacked, for narrow screens: the bar below its name."""

    left: float
    right: float
    top: float
    row: float
    stacked: bool

    def middle(self, number: int) -> float:
        return self.top + self.row * number + (self.row * 0.68 if self.stacked else self.row / 2)


def draw_bars(
    figure: Mapping[str, Any], colours: Mapping[str, str], *, width: float, stacked: bool = False
) -> Markup:
    """Draw bars or, where all values are close together and far from zero, dots on a zoomed axis.

    Args:
        figure: `bars`, each with `label`, `value`, maybe `error` and `points`; `unit`; `references`, each
            with `label` and `value`; `axis` False leaves the axis out.
        colours: class by label.
        width: in user units.
        stacked: put each name above its bar.
    """
    unit = figure.get("unit")
    factor = 100.0 if unit == "fraction" else 1.0
    rows = [_row(bar, unit, factor) for bar in figure["bars"]]
    lines = [(str(r["label"]), factor * float(r["value"]), "reference") for r in figure.get("references", ())]
    lines += [
        (r.label, r.value, "baseline")
        for r in rows
        if r.label == BASELINE and len(rows) > 1 and figure.get("axis", True)
    ]
    values = [v for r in rows for v in (r.value, *r.points, r.value - (r.error or 0), r.value + (r.error or 0))]
    values = [v for v in (*values, *(value for _, value, _ in lines)) if math.isfinite(v)]
    zoomed = len(values) > 1 and min(values) > 0.5 * max(values) and figure.get("axis", True)
    layout = _layout(rows, width, stacked, lines_above=len(lines))
    x = Scale(*span(values, zero=not zoomed), layout.left, layout.right)
    bottom = layout.top + layout.row * len(rows) + 4
    drawn = [*_axis(x, layout.top, bottom, unit)] if figure.get("axis", True) else []
    drawn += _reference_lines(lines, x, layout.top, bottom)
    for number, row in enumerate(rows):
        drawn += _drawn_row(row, layout, number, x, bool(zoomed), colours.get(row.label, OWN), width)
    spoken = "; ".join(
        [f"{r.label} {r.text}" for r in rows] + [f"{n} {quantity(v / factor, unit)}" for n, v, _ in lines]
    )
    height = bottom + (22 if figure.get("axis", True) else 2)
    return canvas(width, height, drawn, label=f"{figure.get('title', 'Bars')}: {spoken}.")


def _row(bar: Mapping[str, Any], unit: str | None, factor: float) -> _Row:
    value, error = bar.get("value"), bar.get("error")
    return _Row(
        label=str(bar["label"]),
        value=math.nan if value is None else factor * float(value),
        error=None if error is None else factor * float(error),
        points=[factor * float(p) for p in bar.get("points") or () if p is not None],
        text=quantity(value, unit, sd=error),
    )


def _layout(rows: Sequence[_Row], width: float, stacked: bool, *, lines_above: int) -> _Layout:
    top = 4 + 17 * lines_above
    if stacked:
        return _Layout(6, width - 6, top, 46, stacked)
    left = min(0.3 * width, 14 + max((text_width(r.label, 14) for r in rows), default=0))
    right = width - 14 - max((text_width(r.text, 14) for r in rows), default=0)
    return _Layout(left, right, top, 36, stacked)


def _axis(x: Scale, top: float, bottom: float, unit: str | None) -> list[Markup]:
    drawn = []
    suffix = " %" if unit == "fraction" else ""
    for value, label in x.ticks(max(2, int((x.end - x.start) / 70))):
        at = x(value)
        drawn.append(element("line", x1=at, x2=at, y1=top, y2=bottom, class_="grid"))
        drawn.append(element("text", label + suffix, x=at, y=bottom + 16, class_="tick mid"))
    return drawn


def _reference_lines(lines: Sequence[tuple[str, float, str]], x: Scale, top: float, bottom: float) -> list[Markup]:
    drawn = []
    for number, (label, value, kind) in enumerate(lines):
        at, y = x(value), top - 17 * number
        half = text_width(label) / 2
        middle = max(x.start + half, min(x.end - half, at))
        drawn.append(element("line", x1=at, x2=at, y1=y - 4, y2=bottom, class_=kind))
        drawn.append(element("text", label, x=middle, y=y - 7, class_=f"mid note {kind}-name"))
    return drawn


def _drawn_row(
    row: _Row, layout: _Layout, number: int, x: Scale, zoomed: bool, colour: str, width: float
) -> list[Markup]:
    y = layout.middle(number)
    if layout.stacked:
        base, name_x, name_class = y - 15, layout.left, "label"
    else:
        base, name_x, name_class = y + 5, layout.left - 12, "label end"
    room = width - text_width(row.text, 14) - 16 if layout.stacked else layout.left - 12
    drawn = [
        element("text", shortened(row.label, room, 14), x=name_x, y=base, class_=name_class),
        element("text", row.text, x=width - 2, y=base, class_="value end"),
    ]
    if not math.isfinite(row.value):
        return drawn
    if not zoomed:
        start, end = sorted((x(max(x.low, min(0.0, x.high))), x(row.value)))
        drawn.append(
            element("rect", x=start, y=y - 7, width=max(end - start, 1), height=14, rx=2, class_=f"bar {colour}")
        )
    about = element("title", f"{row.label}: {row.text}")
    if row.error:
        low, high = max(x.start, x(row.value - row.error)), min(x.end, x(row.value + row.error))
        band = {"x": low, "y": y - 8, "width": high - low, "height": 16, "rx": 3}
        drawn.append(element("rect", about, **band, class_=f"band {colour}"))
    if zoomed:
        mark = {"x": x(row.value) - 1.75, "y": y - 11, "width": 3.5, "height": 22, "rx": 1.75}
        drawn.append(element("rect", about, **mark, class_=f"mark {colour}"))
    drawn += [
        element("circle", cx=x(point), cy=y, r=3.2, class_=f"seed {colour}")
        for point in row.points
        if math.isfinite(point)
    ]
    return drawn
