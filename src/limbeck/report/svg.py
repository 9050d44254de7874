"""Elements of SVG as text, every attribute and every label escaped."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

FONT = 12
"""Height of the letters in charts, in user units, which are close to pixels on the page."""

OWN = "own"
"""Class of what has no colour among methods: a stage by itself."""


def element(name: str, *children: Markup | str, **attributes: str | float | None) -> Markup:
    """One element.

    Args:
        name: of the element.
        children: elements, or text to be escaped.
        attributes: `_` in a name stands for `-`, `class_` for class; None leaves one out; numbers are rounded.

    Example:
        >>> element("text", "a < b", x=1.25, class_="label")
        Markup('<text x="1.25" class="label">a &lt; b</text>')
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(escape(child) for child in children)
    return Markup(f"<{name}{given}>{inside}</{name}>" if inside else f"<{name}{given}/>")


def canvas(width: float, height: float, children: Iterable[Markup], *, label: str) -> Markup:
    """The outer element of a drawing.

    Args:
        width: of the view, in user units.
        height: of the view, in user units.
        children: what is drawn.
        label: what a screen reader says in its place.
    """
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {_text(width)} {_text(height)}",
        style=f"--w:{_text(width)}px",
        role="img",
        aria_label=label,
    )


def text_width(text: str, size: float = FONT) -> float:
    """About how wide a text will be, in user units."""
    return sum(0.34 if letter in "iljtf.,:;|!'() " else 0.6 for letter in text) * size


def shortened(text: str, width: float, size: float = FONT) -> str:
    """The text, cut with an ellipsis if it is wider than this.

    Example:
        >>> shortened("a method with a long name", 60)
        'a method…'
    """
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
