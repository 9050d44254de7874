"""`limbeck cite`: the papers that a run or recipe stands on, as BibTeX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli import options
from limbeck.cli.catalogue import registries
from limbeck.cli.console import note, say


def cite(
    what: Annotated[
        str, typer.Argument(metavar="RUN_OR_RECIPE", help="A run folder, a recipe's file or its name.")
    ],
) -> None:
    """Print the BibTeX of what a run or recipe uses."""
    from limbeck.recipes.citations import bibliography, keys_of, names_in, stage_keys

    if Path(what).is_dir():
        from limbeck.runs.folder import RunFolder

        resolved = RunFolder.open(Path(what)).resolved
    else:
        with options.opened(what) as checked:
            resolved = checked.resolved
    stages = resolved["stages"]
    keys = sorted({*keys_of(names_in(stages), registries().values()), *stage_keys(stages)})
    if not keys:
        note("nothing in it comes from a paper that Limbeck knows.")
    entries = bibliography()
    say("\n\n".join(entries[key] for key in keys))
