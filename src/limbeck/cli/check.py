"""`limbeck check`: is a recipe right? Everything that is not, at once."""

from __future__ import annotations

from typing import Annotated

import typer

from limbeck.cli import options
from limbeck.cli.console import say


def check(
    recipe: options.RecipeName,
    syntax: Annotated[
        bool, typer.Option("--syntax", help="The recipe's text alone: no data is opened, torch is not needed.")
    ] = False,
    overrides: options.Overrides = None,
    smoke: options.Smoke = False,
    plugin: options.Plugins = None,
) -> None:
    """Find everything that is wrong with a recipe.

    Names, settings and references; without --syntax also data, networks, taps and projectors.
    """
    with options.opened(recipe, overrides=overrides, smoke=smoke, plugins=plugin) as checked:
        if not syntax:
            from limbeck.recipes.planning import rehearse

            rehearse(checked)
    what = "reads well" if syntax else "can run here"
    say(f"{checked.name} {what}: {', '.join(f'{n} ({k})' for n, k in checked.kinds.items())}")
