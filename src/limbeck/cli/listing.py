"""`limbeck list`: what there is."""

from __future__ import annotations

from typing import Annotated

import typer

from limbeck.cli.catalogue import WORDS, rows
from limbeck.cli.console import heading, show_rows
from limbeck.errors import UnknownNameError, did_you_mean


def list_(
    what: Annotated[str | None, typer.Argument(metavar="[WHAT]", help=", ".join(WORDS))] = None,
) -> None:
    """List what there is, with a sentence on each."""
    if what is not None and what not in WORDS:
        raise UnknownNameError(f"cannot list '{what}'.{did_you_mean(what, WORDS)} There are: {', '.join(WORDS)}.")
    for word in [what] if what else WORDS:
        heading(word)
        show_rows(["name", "what it is"], [list(row) for row in rows(word)])
