"""`limbeck table`: what papers report, and what our runs came to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from limbeck.cli.console import OUT, heading, note, say, show_rows
from limbeck.errors import InputError

if TYPE_CHECKING:
    from limbeck.runs.folder import RunFolder

RUNS = Path("runs")
"""Where runs are looked for unless told."""


def table(
    name: Annotated[
        str | None, typer.Argument(metavar="[TABLE]", help="Such as cifar100/homogeneous; all are listed without.")
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUNS]...", help="Run folders, or folders of them; runs/ unless given."),
    ] = None,
    style: Annotated[
        Literal["text", "markdown", "json", "csv"], typer.Option("--format", help="How to write it.")
    ] = "text",
    out: Annotated[
        Path | None, typer.Option("--out", help="Write it to this file instead of the terminal.")
    ] = None,
    changed: Annotated[
        bool, typer.Option("--any", help="Count runs that were changed against the recipe too; they are marked.")
    ] = False,
) -> None:
    """Set our numbers beside the published ones.

    A cell is the mean over the runs of its recipe that differ in seed alone. Runs with other settings than the
    recipe's do not count.
    """
    from limbeck.recipes import published
    from limbeck.recipes.reproduction import reproduce

    if name is None:
        return _list()
    found, file = published.find(name)
    cells = reproduce(found, file, _opened(runs), changed=changed)
    from limbeck.cli import table_formats

    width = OUT.width if out is None and OUT.is_terminal else table_formats.WIDTH
    text = table_formats.written(style, name, found, cells, width=width)
    if out is None:
        return say(text)
    from limbeck.files import atomic_write

    if not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.parent}.")
    atomic_write(out, text + "\n")
    return note(f"{name} -> {out}")


def _list() -> None:
    from limbeck.recipes import published

    heading("tables")
    rows = []
    for name in published.names():
        found, _ = published.find(name)
        ours = sum(cell.recipe is not None for cell in found.cells)
        rows.append([name, found.title, f"{len(found.cells)}", f"{ours}"])
    show_rows(["name", "what it shows", "cells", "with a recipe"], rows)


def _opened(paths: list[Path] | None) -> list[RunFolder]:
    from limbeck.recipes.reuse import find_runs

    if paths is None or not paths:
        return find_runs(RUNS, none_is_fine=True)
    return list({run.path.resolve(): run for path in paths for run in find_runs(path)}.values())
