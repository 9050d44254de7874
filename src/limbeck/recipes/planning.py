"""What a recipe will cost, and whether it can start at all, before anything is spent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limbeck.protocols import StageContext
from limbeck.recipes.kinds import STAGES, StageKind, load_attribute
from limbeck.recipes.schema import Recipe


def plan_recipe(
    recipe: Recipe, *, device: str | None = None, kinds: Mapping[str, StageKind] = STAGES
) -> dict[str, dict[str, Any]]:
    """The cost of each stage, by name.

    Networks are built, data is opened, taps are probed and a few steps are timed; nothing is written. A teacher
    that an earlier stage has yet to train is stood for by its architecture.

    Args:
        recipe: checked.
        device: a torch device; what is found unless given.
        kinds: the stage kinds that exist.

    Returns:
        Stage -> parameters, trainable_parameters, flops_per_step, steps, seconds_per_step, seconds,
        memory_bytes, notes.

    Raises:
        LimbeckError: what running the stage would have raised at its start.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, config in recipe.stages.items():
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
