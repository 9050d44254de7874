"""Points in a plane, each with its name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from limbeck.report.axes import Scale, span
from limbeck.report.quantities import quantity
from limbeck.report.svg import OWN, canvas, element, shortened, text_width


def draw_scatter(figure: Mapping[str, Any], colours: Mapping[str, str], *, width: float, height: float) -> Markup:
    """Draw points.

    Args:
        figure: `points`, each with `x`, `y`, maybe `label`; `x_label`, `y_label`, `x_unit`, `y_unit`,
            `x_log`, `y_log`.
        colours: class by label.
        width: in user units.
        height: in user units.
    """
    x_factor, y_factor = (100.0 if figure.get(unit) == "fraction" else 1.0 for unit in ("x_unit", "y_unit"))
    points = [
        (x_factor * float(p["x"]), y_factor * float(p["y"]), str(p.get("label") or ""), p)
        for p in figure["points"]
        if p["x"] is not None and p["y"] is not None
    ]
    x_log, y_log = bool(figure.get("x_log")), bool(figure.get("y_log"))
    points = [
        p for p in points if (p[0] > 0 or not x_log) and (p[1] > 0 or not y_log) and math.isfinite(p[0] + p[1])
    ]
    y = Scale(*span((p[1] for p in points), log=y_log, margin=0.1), height - 38, 20, y_log)
    left = 14 + max((text_width(label) for _, label in y.ticks()), default=0)
    x = Scale(*span((p[0] for p in points), log=x_log, margin=0.1), left, width - 10, x_log)
    drawn = []
    for value, label in y.ticks():
        drawn.append(element("line", x1=x.start, x2=x.end, y1=y(value), y2=y(value), class_="grid"))
        drawn.append(element("text", label, x=x.start - 6, y=y(value) + 4, class_="tick end"))
    for value, label in x.ticks(max(2, int(width / 90))):
        drawn.append(element("line", x1=x(value), x2=x(value), y1=y.end, y2=y.start, class_="grid"))
        drawn.append(element("text", label, x=x(value), y=y.start + 16, class_="tick mid"))
    drawn.append(element("text", shortened(_axis_name(figure, "y"), width), x=0, y=11, class_="tick"))
    drawn.append(
        element("text", shortened(_axis_name(figure, "x"), width), x=x.end, y=height - 5, class_="tick end")
    )
    for px, py, label, given in points:
        colour = colours.get(label, OWN)
        values = [quantity(given[axis], figure.get(f"{axis}_unit")) for axis in ("x", "y")]
        about = f"{label or 'point'}: {', '.join(values)}"
        drawn.append(element("circle", element("title", about), cx=x(px), cy=y(py), r=5, class_=f"dot {colour}"))
        flush = x(px) + 10 + text_width(shortened(label, 0.45 * width)) > x.end
        drawn.append(
            element(
                "text",
                shortened(label, 0.45 * width),
                x=x(px) + (-9 if flush else 9),
                y=y(py) + 4,
                class_=f"name {'end ' if flush else ''}{colour}",
            )
        )
    named = ", ".join(label for *_, label, _ in points if label)
    return canvas(
        width, height, drawn, label=f"{figure.get('title', 'Points')}: {len(points)} points. {named}".strip()
    )


def _axis_name(figure: Mapping[str, Any], axis: str) -> str:
    name = str(figure.get(f"{axis}_label") or "")
    unit = figure.get(f"{axis}_unit")
    shown = "%" if unit == "fraction" else unit if unit not in (None, "count") else ""
    name = f"{name}, {shown}" if name and shown else name or str(shown or "")
    return f"{name} (log scale)" if figure.get(f"{axis}_log") else name
