"""`limbeck plan`: what a recipe will cost, before it is spent."""

from __future__ import annotations

from limbeck.cli import options
from limbeck.cli.console import heading, note, say, show_rows


def plan(
    recipe: options.RecipeName,
    variant: options.Variant = None,
    overrides: options.Overrides = None,
    smoke: options.Smoke = False,
    device: options.Device = None,
    plugin: options.Plugins = None,
) -> None:
    """Say what a recipe will cost here.

    Parameters, FLOPs, steps and memory; the time is extrapolated from a few steps timed on this machine.
    """
    from limbeck.recipes.planning import plan_recipe
    from limbeck.report.quantities import quantity

    with options.opened(recipe, variant=variant, overrides=overrides, smoke=smoke, plugins=plugin) as checked:
        note("timing a few steps of each stage ...")
        costs = plan_recipe(checked, device=device)
    heading(checked.title)
    rows = [
        [
            name,
            quantity(cost["parameters"], "count"),
            quantity(cost["trainable_parameters"] - cost["parameters"], "count"),
            quantity(cost["flops_per_step"], "FLOP"),
            f"{cost['steps']:,}",
            quantity(cost["seconds_per_step"], "s"),
            quantity(cost["seconds"], "s"),
            quantity(cost["memory_bytes"], "bytes"),
        ]
        for name, cost in costs.items()
    ]
    show_rows(["Stage", "Parameters", "+ projectors", "FLOPs a step", "Steps", "Step", "Time", "Memory"], rows)
    say()
    for name, cost in costs.items():
        say(f"{name}: {'; '.join(cost['notes'])}")
    total = sum(cost["seconds"] for cost in costs.values())
    say(f"in all about {quantity(total, 's')} on this machine")
