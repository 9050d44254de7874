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
    variant: options.Variant = None,
    overrides: options.Overrides = None,
    smoke: options.Smoke = False,
    plugin: options.Plugins = None,
) -> None:
    """Find everything that is wrong with a recipe and with each of its variants.

    Names, settings and references; without --syntax also data, networks, taps and projectors.
    """
    with options.checked(recipe, variant=variant, overrides=overrides, smoke=smoke, plugins=plugin) as found:
        if not syntax:
            from limbeck.recipes.planning import rehearse_all

            rehearse_all(found)
    what = "reads well" if syntax else "can run here"
    first = next(iter(found.values()))
    label = first.name if variant is None else f"{first.name}, variant {variant},"
    say(f"{label} {what}: {', '.join(f'{n} ({k})' for n, k in first.kinds.items())}")
    if len(found) > 1:
        say(f"with each of its {len(found) - 1} variants: {', '.join(name for name in found if name)}")
