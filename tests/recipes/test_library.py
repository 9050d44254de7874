"""Shipped recipes: each reads, says what it is, and runs with its smoke overlay."""

from __future__ import annotations

import pytest

from limbeck.recipes import catalogue
from limbeck.recipes.runner import run_recipe
from limbeck.recipes.schema import load_recipe

NAMES = catalogue.names()


def test_there_are_enough_of_them():
    assert len(NAMES) >= 2
    assert {"demo/digits", "cifar10/methods"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_what_it_does_how_to_run_it_and_what_to_expect(name):
    text = catalogue.read(name)[1]
    for word in ("# What it does:", "# Run:", "# Cost:", "# Expect:"):
        assert word in text
    assert catalogue.summary(name) == load_recipe(text, name=name).title
    assert "smoke:" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_in_two_steps(name, tmp_path):
    smoke = load_recipe(catalogue.read(name)[1], name=name, smoke=True)
    lean = []  # less data than even the overlay takes: what is tested is that every stage starts and ends
    for stage, config in smoke.stages.items():
        assert config.train.steps == 2
        assert config.source.name == "digits"
        lean += [f"{stage}.source.per_class=4", f"{stage}.train.batch_size=20", f"{stage}.model=resnet8"]
    recipe = load_recipe(catalogue.read(name)[1], name=name, smoke=True, overrides=lean)
    run = run_recipe(recipe, tmp_path / "run", command=["test"], device="cpu")
    assert [stage.finished for stage in run.stages()] == [True] * len(recipe.stages)
