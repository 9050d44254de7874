"""From text to typed stages: what is filled in, laid over, and reported where."""

from __future__ import annotations

import pytest

from limbeck.errors import ConfigError
from limbeck.recipes.schema import load_recipe

TEXT = """\
title: Two
seed: 3
stages:
  teacher:
    kind: classify.train
    source: {name: digits, per_class: 4}
    model: resnet8
    seed: 7
  student:
    kind: classify.distill
    teacher: teacher
    source: digits
    model: resnet8
    terms: [{loss: kd, weight: 2}]
smoke:
  student: {train: {steps: 0}}
"""


def problems(text: str = TEXT, **options) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_recipe(text, name="two", **options)
    return caught.value.problems


def test_a_recipe_becomes_typed_stages_in_order():
    recipe = load_recipe(TEXT, name="two")
    assert list(recipe.stages) == ["teacher", "student"]
    assert recipe.kinds == {"teacher": "classify.train", "student": "classify.distill"}
    assert recipe.references == {"teacher": (), "student": ("teacher",)}
    assert recipe.text == TEXT
    assert (recipe.title, recipe.seed) == ("Two", 3)


def test_what_it_came_to_is_complete_and_reads_back_the_same():
    import yaml

    resolved = load_recipe(TEXT, name="two").resolved
    assert resolved["schema"] == 1
    assert resolved["stages"]["teacher"]["seed"] == 7
    assert resolved["stages"]["student"]["seed"] == 3
    again = {key: resolved[key] for key in ("title", "seed", "stages")}
    assert load_recipe(yaml.safe_dump(again, sort_keys=False), name="two").resolved == resolved


def test_title_and_seed_have_defaults():
    recipe = load_recipe(TEXT.replace("title: Two\nseed: 3\n", ""), name="two")
    assert (recipe.title, recipe.seed) == ("two", 0)


def test_messages_name_the_file_and_the_run_is_named_after_the_recipe():
    with pytest.raises(ConfigError, match=r"^folder/two\.yaml has 1 problem"):
        load_recipe(
            TEXT.replace("terms", "term_s"), name="two", where="folder/two.yaml", overrides=["student.terms=kd"]
        )
    assert load_recipe(TEXT, name="two", where="folder/two.yaml").name == "two"


def test_a_problem_of_the_overlay_has_the_overlay_s_line():
    assert problems(smoke=True) == ("stages.student.train.steps (line 16): must be at least 1 (got 0).",)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("student.train.steps=0", "--set student.train.steps: must be at least 1 (got 0)."),
        ("student.terms.0.weight=-1", "--set student.terms.0.weight: must be greater than 0 (got -1)."),
        ("student.terms.0.loss.temperature=x", "--set student.terms.0.loss.temperature: loss 'kd', setting"),
        ("student.train={epoch: 1}", "--set student.train: train has no field 'epoch'. Did you mean 'epochs'?"),
        ("seed=x", "--set seed: has to be a whole number"),
        ("title=[1]", "--set title: has to be text"),
        ("student.terms.4.weight=1", "--set student.terms.4.weight: 'student.terms.4' is no place in a list of 1"),
    ],
)
def test_a_problem_of_an_override_names_the_option(override, said):
    (found,) = problems(overrides=[override])
    assert found.startswith(said)


def test_a_smoke_run_needs_a_smoke_block():
    text = TEXT.partition("smoke:")[0]
    assert problems(text, smoke=True) == (
        "smoke (line 1): a smoke run was asked for, and the recipe has no 'smoke' block.",
    )


@pytest.mark.parametrize("value", ["'3'", "true", "3.5", "[3]", "x"])
def test_nothing_is_converted_silently(value):
    (found,) = problems(
        TEXT.replace("model: resnet8\n    seed", f"train: {{epochs: {value}}}\n    model: resnet8\n    seed")
    )
    assert "must be a whole number" in found


def test_recipes_shown_in_the_guides_are_valid(root):
    import re

    shown = [
        block
        for page in sorted((root / "docs").rglob("*.md"))
        for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        if re.search(r"^stages:", block, flags=re.MULTILINE)
    ]
    assert shown
    for block in shown:
        assert load_recipe(block, name="guide").stages
