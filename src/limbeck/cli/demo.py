"""`limbeck demo`: the main job on real data that needs no download."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli import options
from limbeck.cli.console import note, say
from limbeck.cli.run import execute

RECIPE = "demo/digits"


def demo(
    out: Annotated[Path, typer.Option("--out", help="The run folder.")] = Path("limbeck-demo"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin again; the old run is kept aside.")] = False,
    device: options.Device = None,
) -> None:
    """Distil real handwritten digits, in about a minute.

    A teacher, then small students by three methods with three seeds each beside controls, a table and a report.
    An audit at the end asks what else the students took over from their teacher, by more than chance.
    """
    with options.opened(RECIPE) as checked:
        note("1,797 scans of handwritten digits; a teacher learns from 1,297 of them, students from ten a class.")
        began = time.perf_counter()
        execute(checked, out, fresh=list(checked.stages)[:1] if fresh else [], device=device, quiet=False)
    say()
    say(f"done in {time.perf_counter() - began:.0f} s. Open the report in a browser, change the recipe")
    say(f"(limbeck show {RECIPE} > mine.yaml) and run it: limbeck run mine.yaml")
