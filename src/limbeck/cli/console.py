"""What verbs print with: results on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

if TYPE_CHECKING:
    from limbeck.report.tables import Table

OUT = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
ERR = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str = "", style: str | None = None) -> None:
    """A line of results; markup in it is not interpreted."""
    OUT.print(Text(text, style=style or ""), soft_wrap=True)


def paragraphs(text: str) -> None:
    """Prose, filled to the width of the terminal; blank lines separate paragraphs."""
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        if number:
            OUT.print()
        OUT.print(Text(" ".join(paragraph.split())))


def note(text: str) -> None:
    """A line about what is going on, on standard error."""
    ERR.print(Text(text, style="dim"))


def heading(text: str) -> None:
    """A title over what follows."""
    OUT.print()
    OUT.print(Text(text, style="bold"))


def show_table(table: Table) -> None:
    """A table of a run, the same cells as on the report page; the best of a column is bold."""
    drawn = RichTable(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for header, numeric in zip(table.headers, table.numeric, strict=True):
        drawn.add_column(header, justify="right" if numeric else "left", overflow="fold")
    for number, row in enumerate(table.rows):
        cells = [Text(cell, style="bold" if (number, at) in table.best else "") for at, cell in enumerate(row)]
        drawn.add_row(*cells)
    heading(table.title)
    OUT.print(Padding(drawn, (0, 0, 0, 2)))


def show_rows(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Plain rows under headers."""
    drawn = RichTable(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        drawn.add_column(header, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    OUT.print(Padding(drawn, (0, 0, 0, 2)))
