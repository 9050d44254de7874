"""From the data of a figure, as a stage wrote it, to a drawing for wide and for narrow screens."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from limbeck.report.draw_bars import BASELINE, draw_bars
from limbeck.report.draw_lines import draw_lines
from limbeck.report.draw_matrix import draw_matrix
from limbeck.report.draw_scatter import draw_scatter
from limbeck.report.tables import REFERENCE

KINDS = ("lines", "bars", "matrix", "scatter")
"""The kinds of figures that can be drawn."""
COLOURS = 8
"""Number of colours in the page's palette, c1 to c8."""
_WIDE, _NARROW, _SMALL_BARS = 860.0, 340.0, 250.0


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure ready for the page.

    Attributes:
        title: what it shows.
        caption: how to read it.
        wide: for wide screens.
        narrow: for narrow ones; None where one drawing serves both.
        problem: why it could not be drawn, or nothing.
        scrolls: whether it keeps its size and scrolls in its own box.
    """

    title: str
    caption: str
    wide: Markup
    narrow: Markup | None = None
    problem: str = ""
    scrolls: bool = False


def colours_of(labels: Iterable[str]) -> dict[str, str]:
    """A class for each label, the same wherever the label appears; what others are compared with stays grey.

    Example:
        >>> colours_of(["control", "kd", "pefd", "kd"])
        {'control': 'c0', 'kd': 'c1', 'pefd': 'c2'}
    """
    found: dict[str, str] = {}
    used = 0
    for label in labels:
        if label in found:
            continue
        if label in (BASELINE, REFERENCE):
            found[label] = "c0" if label == BASELINE else "own"
            continue
        found[label] = f"c{1 + used % COLOURS}"
        used += 1
    return found


def draw(figure: Mapping[str, Any], colours: Mapping[str, str] | None = None, *, small: bool = False) -> Drawing:
    """Draw a figure; one whose data does not fit its kind becomes a note and stops nothing.

    Args:
        figure: title, caption, kind and what that kind needs.
        colours: class by label.
        small: draw one of several that stand side by side.
    """
    title, caption = str(figure.get("title") or ""), str(figure.get("caption") or "")
    try:
        return _drawn(figure, title, caption, colours or colours_of(_labels(figure)), small)
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError, OverflowError) as error:
        logging.getLogger("limbeck").warning("figure '%s' cannot be drawn: %r", title, error)
        problem = f"This figure cannot be drawn: {type(error).__name__}: {error}."
        return Drawing(title, caption, Markup(), problem=problem)


def _drawn(
    figure: Mapping[str, Any], title: str, caption: str, colours: Mapping[str, str], small: bool
) -> Drawing:
    kind = figure.get("kind")
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is none of {', '.join(KINDS)}")
    if kind == "matrix":
        return Drawing(title, caption, draw_matrix(figure), scrolls=True)
    if kind == "bars":
        narrow = draw_bars(figure, colours, width=_SMALL_BARS if small else _NARROW, stacked=True)
        return Drawing(
            title, caption, narrow if small else draw_bars(figure, colours, width=_WIDE), None if small else narrow
        )
    painter = draw_lines if kind == "lines" else draw_scatter
    narrow = painter(figure, colours, width=_NARROW, height=220)
    if small:
        return Drawing(title, caption, narrow)
    return Drawing(title, caption, painter(figure, colours, width=_WIDE, height=300), narrow)


def _labels(figure: Mapping[str, Any]) -> list[str]:
    found = [*figure.get("bars", ()), *figure.get("series", ()), *figure.get("points", ())]
    return [str(one["label"]) for one in found if isinstance(one, Mapping) and one.get("label")]
