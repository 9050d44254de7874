"""`limbeck report`: the page of a run, finished or not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli import options
from limbeck.cli.console import say


def report(
    run: options.RunPath,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to; report.html in the run folder unless given.")
    ] = None,
) -> None:
    """Write the report of a run, one HTML file."""
    from limbeck.report.page import write

    say(str(write(run, out)))
