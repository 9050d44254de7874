"""Variants: named values over the stages, under the smoke block and `--set`."""

from __future__ import annotations

from pathlib import Path

import pytest

from limbeck.errors import ConfigError
from limbeck.recipes.runner import default_folder
from limbeck.recipes.schema import load_recipe, load_variants

TEXT = """\
title: Two
stages:
  teacher:
    kind: classify.train
    source: digits
    model: resnet8
  student:
    kind: classify.distill
    teacher: teacher
    source: {name: digits, per_class: 4}
    model: resnet8
    terms: kd
    train: {epochs: 9, batch_size: 8}
variants:
  control: {student: {terms: control}}
  long:
    student:
      terms: [{loss: kd, weight: 2}]
      train: {epochs: 99}
smoke:
  student: {train: {epochs: 2, steps: 2}}
"""


def problems(text: str = TEXT, **options) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_recipe(text, name="two", **options)
    return caught.value.problems


def student(**options):
    return load_recipe(TEXT, name="two", **options).stages["student"]


def test_a_variant_goes_over_the_recipe_smoke_over_both_and_an_override_over_all():
    assert (student().train.epochs, student().train.batch_size) == (9, 8)
    assert (student(variant="long").train.epochs, student(variant="long").train.batch_size) == (99, 8)
    assert student(variant="long", smoke=True).train.epochs == 2
    assert student(variant="long", smoke=True, overrides=["student.train.epochs=4"]).train.epochs == 4
    assert [term.loss.name for term in student(variant="control").terms] == ["cross_entropy"]
    assert [term.weight for term in student(variant="long", smoke=True).terms] == [2.0]


def test_it_is_on_record():
    recipe = load_recipe(TEXT, name="two", variant="long")
    assert (recipe.variant, recipe.variants) == ("long", ("control", "long"))
    assert recipe.resolved["variant"] == "long"
    assert "variant" not in load_recipe(TEXT, name="two").resolved


def test_every_variant_has_a_folder_of_its_own():
    folders = {default_folder(load_recipe(TEXT, name="two", variant=v)) for v in (None, "control", "long")}
    assert folders == {Path("runs/two/s0"), Path("runs/two/control/s0"), Path("runs/two/long/s0")}
    smoke = load_recipe(TEXT, name="two", variant="long", smoke=True, overrides=["seed=3"])
    assert default_folder(smoke) == Path("runs/two/long/smoke-s3")


def test_an_unknown_variant_names_the_nearest():
    (found,) = problems(variant="contrl")
    assert found == (
        "--variant contrl: the recipe has no such variant. Did you mean 'control'? It has: control, long."
    )
    (found,) = problems(TEXT.partition("variants:")[0], variant="long")
    assert found.endswith("It has none.")


def test_a_problem_of_a_variant_has_its_line():
    text = TEXT.replace("epochs: 99", "epochs: 0")
    assert load_recipe(text, name="two").stages
    assert problems(text, variant="long") == (
        "stages.student.train.epochs (line 19): must be at least 1 (got 0).",
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "  control: {student: {terms: control}}",
            "  control: kd",
            "variants.control (line 15): has to be a mapping",
        ),
        ("  control:", "  Con trol:", "variants.Con trol (line 15): names of variants are lower-case"),
        ("variants:\n", "variants: 3\nother:\n", "variants (line 14): has to be a mapping of names"),
    ],
)
def test_what_is_no_variant_is_said_without_asking_for_it(old, new, said):
    assert any(found.startswith(said) for found in problems(TEXT.replace(old, new)))


def test_a_stage_that_does_not_exist_names_the_nearest():
    text = TEXT.replace("  control: {student:", "  control: {studnt:")
    (found,) = problems(text, variant="control")
    assert found.startswith(
        "variants.control.studnt (line 15): no stage is named 'studnt'. Did you mean 'student'?"
    )


def test_an_overlay_may_bring_a_stage_of_its_own_which_comes_first():
    text = TEXT.replace("teacher: teacher\n", "teacher: {name: timm/resnet18, pretrained: true}\n").replace(
        "smoke:\n  student: {",
        "smoke:\n  quick: {kind: classify.train, source: digits, model: resnet8}\n  student: {teacher: quick, ",
    )
    assert list(load_recipe(text, name="two").stages) == ["teacher", "student"]
    smoke = load_recipe(text, name="two", smoke=True)
    assert list(smoke.stages) == ["quick", "teacher", "student"]
    assert smoke.references["student"] == ("quick",)


def test_a_stage_of_another_kind_replaces_the_old_one_with_its_settings():
    text = TEXT.replace("{train: {epochs: 2, steps: 2}}", "{kind: classify.train, source: digits, model: resnet8}")
    recipe = load_recipe(text, name="two", smoke=True)
    assert recipe.kinds["student"] == "classify.train"
    assert recipe.stage_config("student")["model"]["name"] == "resnet8"


def test_all_variants_are_checked_at_once():
    found = load_variants(TEXT, name="two")
    assert list(found) == [None, "control", "long"]
    assert [recipe.stages["student"].train.epochs for recipe in found.values()] == [9, 9, 99]
    broken = TEXT.replace("epochs: 99", "epochs: 0").replace("terms: control", "terms: contrl")
    with pytest.raises(ConfigError) as caught:
        load_variants(broken, name="two")
    first, second = caught.value.problems
    assert first.startswith("variant control: stages.student.terms (line 15)")
    assert second.startswith("variant long: stages.student.train.epochs (line 19)")


def test_a_problem_that_all_variants_share_is_said_once():
    with pytest.raises(ConfigError) as caught:
        load_variants(TEXT.replace("    source: digits\n", "    source: digts\n"), name="two")
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith("stages.teacher.source")
