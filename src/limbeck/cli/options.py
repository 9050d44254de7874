"""Options that several verbs share, each described once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from limbeck.recipes.schema import Recipe

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A YAML file, or a name from `limbeck list recipes`.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a value: student.train.epochs=10. Repeatable."),
]
Smoke = Annotated[
    bool, typer.Option("--smoke", help="Lay the recipe's smoke block over it: two steps, to see it run.")
]
Variant = Annotated[
    str | None,
    typer.Option("--variant", metavar="NAME", help="One of the recipe's variants: `limbeck show RECIPE`."),
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="The run's seed, instead of the recipe's.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin", metavar="NAME", help="Code you trust: a .py file, a module or an entry point. Repeatable."
    ),
]
Device = Annotated[
    str | None, typer.Option("--device", help="A torch device such as cpu or cuda:1; found unless given.")
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]


@contextmanager
def opened(
    recipe: str,
    *,
    variant: str | None = None,
    overrides: list[str] | None = None,
    smoke: bool = False,
    seed: int | None = None,
    plugins: list[str] | None = None,
) -> Iterator[Recipe]:
    """Find, check and type a recipe; plugins first, as they may bring what it names.

    Inside the block the recipe may name code of the modules that were given as plugins, and no other.

    Raises:
        LimbeckError: with every problem of the recipe.
    """
    from limbeck.recipes.catalogue import read
    from limbeck.recipes.plugins import load_plugins
    from limbeck.recipes.schema import load_recipe
    from limbeck.registry import imports_allowed

    with imports_allowed(load_plugins(plugins or [])):
        name, text = read(recipe)
        given = [*(overrides or []), *([f"seed={seed}"] if seed is not None else [])]
        yield load_recipe(text, name=name, where=recipe, variant=variant, smoke=smoke, overrides=given)


@contextmanager
def checked(
    recipe: str,
    *,
    variant: str | None = None,
    overrides: list[str] | None = None,
    smoke: bool = False,
    plugins: list[str] | None = None,
) -> Iterator[dict[str | None, Recipe]]:
    """As `opened`, for the recipe as it stands and with each of its variants, or for the one that is asked for.

    Raises:
        LimbeckError: with every problem of all of them.
    """
    from limbeck.recipes.catalogue import read
    from limbeck.recipes.plugins import load_plugins
    from limbeck.recipes.schema import load_recipe, load_variants
    from limbeck.registry import imports_allowed

    with imports_allowed(load_plugins(plugins or [])):
        name, text = read(recipe)
        if variant is None:
            yield load_variants(text, name=name, where=recipe, smoke=smoke, overrides=overrides or [])
        else:
            given = overrides or []
            yield {
                variant: load_recipe(text, name=name, where=recipe, variant=variant, smoke=smoke, overrides=given)
            }
