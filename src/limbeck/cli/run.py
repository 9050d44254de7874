"""`limbeck run`: run a recipe, or continue it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limbeck.cli import options
from limbeck.cli.console import note, say, show_table
from limbeck.errors import ConditionFailed

if TYPE_CHECKING:
    from limbeck.recipes.schema import Recipe
    from limbeck.runs.folder import RunFolder


def run(
    recipe: options.RecipeName,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The run folder; runs/RECIPE/sSEED unless given. A begun one continues."),
    ] = None,
    variant: options.Variant = None,
    overrides: options.Overrides = None,
    smoke: options.Smoke = False,
    seed: options.Seed = None,
    fresh: Annotated[
        list[str] | None,
        typer.Option(
            "--fresh", metavar="STAGE", help="Begin a stage again, and what builds on it; the old is kept aside."
        ),
    ] = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(
            "--reuse",
            metavar="PATH",
            help="Take over finished stages with equal settings from this run, or from the runs in this folder. "
            "Repeatable.",
        ),
    ] = None,
    device: options.Device = None,
    plugin: options.Plugins = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars, no tables; errors only.")] = False,
) -> None:
    """Run a recipe, or continue a begun run.

    Finished stages are skipped, unfinished ones resumed, changed ones refused with a list of the changes.
    """
    with options.opened(
        recipe, variant=variant, overrides=overrides, smoke=smoke, seed=seed, plugins=plugin
    ) as checked:
        execute(checked, out, fresh=fresh or [], reuse=reuse or [], device=device, quiet=quiet)


def execute(
    checked: Recipe,
    out: Path | None,
    *,
    fresh: list[str],
    reuse: Sequence[Path] = (),
    device: str | None,
    quiet: bool,
) -> RunFolder:
    """Run a checked recipe, write its report and say what came of it."""
    from limbeck.engine.processes import is_main
    from limbeck.recipes.runner import default_folder, run_recipe

    folder = out if out is not None else default_folder(checked)
    if not quiet and is_main():
        variant = f", variant {checked.variant}" if checked.variant else ""
        note(f"{checked.title}{variant}: {', '.join(checked.stages)} -> {folder}")
    finished = run_recipe(
        checked,
        folder,
        command=["limbeck", *sys.argv[1:]],
        fresh=fresh,
        reuse=reuse,
        device=device,
        progress=not quiet and sys.stderr.isatty(),
    )
    if is_main():
        page = _report(finished)
        if not quiet:
            tell(finished, page)
    _hold_to(finished)
    return finished


def _hold_to(run: RunFolder) -> None:
    """Leave with a code of its own where a stage's outcome breaks a condition that the recipe set.

    Raises:
        ConditionFailed: it does; everything is written.
    """
    broken = [line for stage in run.stages() for line in stage.result().get("broken", ())]
    if broken:
        raise ConditionFailed("not passed: " + "; ".join(broken) + ".")


def _report(run: RunFolder) -> Path | None:
    """The page; a page that cannot be drawn must not lose the run that it is about."""
    from limbeck.errors import LimbeckError
    from limbeck.report.page import write

    try:
        return write(run.path)
    except (LimbeckError, OSError) as error:
        note(f"the report could not be written: {error} `limbeck report {run.path}` tries again.")
        return None


def tell(run: RunFolder, page: Path | None) -> None:
    """Tables and sentences of every stage, and how to go on."""
    from limbeck.report.tables import table_of

    models: list[Path] = []
    taken = {event.get("stage"): event.get("path") for event in run.events() if event.get("kind") == "reused"}
    for stage in run.stages():
        result = stage.result()
        tables = stage.tables()
        for name, table in tables.items():
            if name == "comparison" or table.get("lead"):
                show_table(table_of(table))
        say()
        origin = f" Taken over from {taken[stage.name]}." if stage.name in taken else ""
        say(f"{stage.name}: {result['summary']}{origin}")
        if result.get("model"):
            models.append(stage.path / result["model"])
    say()
    say(f"run      {run.path}")
    if page is not None:
        say(f"report   {page}")
    for model in models:
        say(f"model    {model}")
    if models:
        say(f"load     import limbeck; model = limbeck.load({str(models[-1])!r})")
        say(f"export   limbeck export {shlex.quote(str(models[-1]))} --out student.safetensors")
