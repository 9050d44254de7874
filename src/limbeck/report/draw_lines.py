"""Curves over a common axis, labelled at their ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from limbeck.report.axes import Scale, span
from limbeck.report.svg import OWN, canvas, element, shortened, text_width

POINTS = 240
"""A longer curve is thinned to about so many points."""
_GAP = 13.0
"""Least distance between two labels, in user units."""
_LABELLED = 8
"""With more curves than this the labels stand in a legend and not at the curves."""


def draw_lines(figure: Mapping[str, Any], colours: Mapping[str, str], *, width: float, height: float) -> Markup:
    """Draw curves.

    Args:
        figure: `series`, each with `x`, `y`, `label` and maybe `faint`; `x_label`, `y_label`, `unit`, `log`,
            `log_x`.
        colours: class by label.
        width: in user units.
        height: in user units.
    """
    factor = 100.0 if figure.get("unit") == "fraction" else 1.0
    series = [_Curve(one, factor) for one in figure["series"]]
    bounds = [factor * value for value in figure.get("bounds", ())]
    log = bool(figure.get("log")) and any(v > 0 for curve in series for v in curve.y)
    named = [curve for curve in series if curve.label and not curve.faint and curve.end]
    named = named if len(named) <= _LABELLED else []
    room = min(max((text_width(c.label) for c in named), default=0), 0.28 * width)
    low, high = span([*(v for c in series for v in c.y), *bounds], log=log)
    y = Scale(low, high, height - (38 if figure.get("x_label") else 24), 18 if _y_name(figure) else 6, log)
    left = 12 + max((text_width(label) for _, label in y.ticks()), default=0)
    log_x = bool(figure.get("log_x")) and all(v > 0 for curve in series for v in curve.x)
    ends = span((v for c in series for v in c.x), margin=0, log=log_x)
    x = Scale(*ends, left, width - room - (16 if room else 8), log_x)
    drawn = [
        *_grid(x, y, figure, width),
        *(_curve(c, x, y, colours) for c in sorted(series, key=lambda c: not c.faint)),
        *_end_labels(named, x, y, colours, room),
    ]
    return canvas(width, height, drawn, label=_spoken(figure, series, factor))


class _Curve:
    """One series, thinned, with gaps where a value is missing."""

    def __init__(self, given: Mapping[str, Any], factor: float) -> None:
        self.label = str(given.get("label") or "")
        self.faint = bool(given.get("faint"))
        pairs = [
            (float(x), math.nan if y is None else factor * float(y))
            for x, y in zip(given["x"], given["y"], strict=True)
        ]
        self.points = thinned(pairs, POINTS // 2 if self.faint else POINTS)
        self.x = [x for x, _ in self.points]
        self.y = [y for _, y in self.points]
        self.end = next((p for p in reversed(self.points) if math.isfinite(p[1])), None)


def thinned(points: Sequence[tuple[float, float]], limit: int) -> list[tuple[float, float]]:
    """Fewer points of the same shape: of each stretch the lowest and the highest, in their order.

    Args:
        points: (x, y), y may be NaN.
        limit: about how many to keep.

    Example:
        >>> thinned([(0, 0), (1, 9), (2, 1), (3, 2)], 4)
        [(0, 0), (1, 9), (2, 1), (3, 2)]
        >>> len(thinned([(i, i % 7) for i in range(10_000)], 200))
        200
    """
    if len(points) <= limit:
        return list(points)
    inner, stretches = points[1:-1], max(1, limit // 2 - 1)
    kept = [points[0]]
    for n in range(stretches):
        stretch = inner[len(inner) * n // stretches : len(inner) * (n + 1) // stretches]
        finite = [p for p in stretch if math.isfinite(p[1])]
        if finite:
            ends = {min(finite, key=lambda p: p[1]), max(finite, key=lambda p: p[1])}
            kept += sorted(ends)
        elif stretch:
            kept.append(stretch[0])
    return [*kept, points[-1]]


def _grid(x: Scale, y: Scale, figure: Mapping[str, Any], width: float) -> list[Markup]:
    drawn = []
    for value, label in y.ticks():
        at = y(value)
        drawn.append(element("line", x1=x.start, x2=x.end, y1=at, y2=at, class_="grid"))
        drawn.append(element("text", label, x=x.start - 6, y=at + 4, class_="tick end"))
    for value, label in x.ticks(max(3, int((x.end - x.start) / 80))):
        at = x(value)
        fits = at + text_width(label) / 2 <= width
        drawn.append(element("line", x1=at, x2=at, y1=y.start, y2=y.start + 4, class_="axis"))
        drawn.append(element("text", label, x=at, y=y.start + 17, class_="tick mid" if fits else "tick end"))
    drawn.append(element("line", x1=x.start, x2=x.end, y1=y.start, y2=y.start, class_="axis"))
    drawn.append(element("text", shortened(_y_name(figure), width), x=0, y=10, class_="tick"))
    middle = (x.start + x.end) / 2
    drawn.append(
        element(
            "text",
            shortened(str(figure.get("x_label") or ""), x.end - x.start),
            x=middle,
            y=y.start + 33,
            class_="tick mid",
        )
    )
    return drawn


def _y_name(figure: Mapping[str, Any]) -> str:
    unit = figure.get("unit")
    name = ", ".join(str(word) for word in (figure.get("y_label"), "%" if unit == "fraction" else unit) if word)
    return ", ".join(filter(None, (name, "log scale"))) if figure.get("log") else name


def _curve(curve: _Curve, x: Scale, y: Scale, colours: Mapping[str, str]) -> Markup:
    parts, pen = [], "M"
    for px, py in curve.points:
        if math.isfinite(py):
            parts.append(f"{pen}{x(px):.1f} {y(py):.1f}")
            pen = "L"
        else:
            pen = "M"
    colour = colours.get(curve.label, OWN)
    if len(parts) == 1 and curve.end:
        return element("circle", cx=x(curve.end[0]), cy=y(curve.end[1]), r=3, class_=f"dot {colour}")
    title = element("title", curve.label) if curve.label else Markup()
    return element("path", title, d="".join(parts), class_=f"{'faint' if curve.faint else 'line'} {colour}")


def _end_labels(
    curves: Sequence[_Curve], x: Scale, y: Scale, colours: Mapping[str, str], room: float
) -> list[Markup]:
    ends = sorted(((y(c.end[1]), c) for c in curves if c.end), key=lambda pair: pair[0])
    places = spread([at for at, _ in ends], y.end, y.start, _GAP)
    drawn = []
    for (at, curve), place in zip(ends, places, strict=True):
        colour = colours.get(curve.label, OWN)
        assert curve.end is not None
        from_x = x(curve.end[0])
        drawn.append(element("circle", cx=from_x, cy=at, r=2.6, class_=f"dot {colour}"))
        bend = f"M{from_x + 4:.1f} {at:.1f}L{x.end + 9:.1f} {place:.1f}"
        drawn.append(element("path", d=bend, class_=f"leader {colour}"))
        label = shortened(curve.label, room)
        drawn.append(element("text", label, x=x.end + 12, y=place + 4, class_=f"name {colour}"))
    return drawn


def spread(wanted: Sequence[float], top: float, bottom: float, gap: float) -> list[float]:
    """Places near the wanted ones, in the same order, at least a gap apart and inside the bounds if they fit.

    Example:
        >>> spread([10, 11, 50], 0, 100, 10)
        [5.5, 15.5, 50.0]
        >>> spread([98, 99], 0, 100, 10)
        [90.0, 100.0]
    """
    merged: list[list[float]] = []  # centre and size; neighbours that overlap become one group
    for at in wanted:
        merged.append([float(at), 1.0])
        while True:
            for one in merged[-2:]:
                half = gap * (one[1] - 1) / 2
                one[0] = max(top + half, min(bottom - half, one[0]))
            if (
                len(merged) < 2
                or merged[-1][0] - merged[-2][0] >= gap * (merged[-1][1] + merged[-2][1]) / 2 - 1e-9
            ):
                break
            last, before = merged.pop(), merged.pop()
            size = last[1] + before[1]
            merged.append([(last[0] * last[1] + before[0] * before[1]) / size, size])
    return [centre + gap * (n - (size - 1) / 2) for centre, size in merged for n in range(int(size))]


def _spoken(figure: Mapping[str, Any], series: Sequence[_Curve], factor: float) -> str:
    suffix = " %" if factor == 100.0 else ""
    ends = [f"{c.label or 'it'} ends at {c.end[1]:.3g}{suffix}" for c in series if c.end and not c.faint]
    return f"{figure.get('title', 'Curves')}: {', '.join(ends[:10]) or 'no finite values'}."
