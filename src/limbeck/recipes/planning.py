"""What a recipe will cost, and whether it can start at all, before anything is spent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from limbeck.errors import ConfigError, LimbeckError
from limbeck.protocols import StageContext
from limbeck.recipes.kinds import STAGES, StageKind, load_attribute
from limbeck.recipes.schema import Recipe


def plan_recipe(
    recipe: Recipe,
    *,
    device: str | None = None,
    but: Collection[str] = (),
    kinds: Mapping[str, StageKind] = STAGES,
) -> dict[str, dict[str, Any]]:
    """The cost of each stage, by name.

    Networks are built, data is opened, taps are probed and a few steps are timed; nothing is written. A teacher
    that an earlier stage has yet to train is stood for by its architecture.

    Args:
        recipe: checked.
        device: a torch device; what is found unless given.
        but: stages to leave out.
        kinds: the stage kinds that exist.

    Returns:
        Stage -> parameters, trainable_parameters, flops_per_step, steps, seconds_per_step, seconds,
        memory_bytes, notes.

    Raises:
        LimbeckError: what running the stage would have raised at its start.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, config in recipe.stages.items():
        if name in but:
            continue
        references = recipe.references.get(name, ())
        inputs = {value: Path(value) for value in references if value not in recipe.stages}
        context = StageContext(seed=recipe.seed, inputs=inputs, device=device)
        found[name] = load_attribute(kinds[recipe.kinds[name]].plan)(config, context, recipe.stages)
    return found


def rehearse(recipe: Recipe) -> None:
    """Take every stage through its start and a few steps.

    Raises:
        LimbeckError: what running the stage would have raised.
    """
    plan_recipe(recipe)


def rehearse_all(recipes: Mapping[str | None, Recipe]) -> None:
    """Rehearse a recipe with each of its variants; a stage that several of them share is rehearsed once.

    Args:
        recipes: variant -> recipe, as `load_variants` gives them.

    Raises:
        LimbeckError: what running the first of them would have raised.
        ConfigError: what running the others would have raised, all of it at once.
    """
    done: list[dict[str, Any]] = []
    problems: list[str] = []
    for variant, recipe in recipes.items():
        known = [name for name in recipe.stages if recipe.stage_config(name) in done]
        try:
            plan_recipe(recipe, but=known)
        except LimbeckError as error:
            if variant is None or len(recipes) == 1:
                raise
            problems.append(f"variant {variant}: {error}")
        else:
            done += [recipe.stage_config(name) for name in recipe.stages if name not in known]
    if problems:
        raise ConfigError.of(next(iter(recipes.values())).name, problems)
