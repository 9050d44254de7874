"""Sources inside sources, as recipes write them: checked before anything runs, trained and compared on."""

import pytest

from limbeck.classify.data import load_data
from limbeck.errors import ConfigError
from limbeck.recipes.runner import run_recipe
from limbeck.recipes.schema import load_recipe

TEXT = """
stages:
  teacher:
    kind: classify.train
    source:
      name: joined
      of:
        - {name: digits, channels: 3, limit: 60}
        - {name: tinted, of: {name: digits, limit: 50}, seed: 3}
        - {name: blended, of: digits, patches: {name: digits, size: 16}, limit: 40}
      names: [original, colour, patches]
    model: resnet8
    train: {steps: 2, batch_size: 30, workers: 0}
  compared:
    kind: classify.compare
    teacher: teacher
    source: {name: digits, channels: 3, limit: 60}
    test_source: {name: tinted, of: {name: digits, limit: 5}, seed: 9}
    model: resnet8
    seeds: [0]
    weak_teacher: true
    methods: {kd: kd}
    train: {steps: 2, batch_size: 30, workers: 0}
"""


def test_nested_settings_are_checked_and_filled_in():
    recipe = load_recipe(TEXT, name="my.yaml")
    first, second, third = recipe.stages["teacher"].source.settings["of"]
    assert (first["limit"], first["per_class"], first["subset_seed"]) == (60, None, 0)
    assert (second["of"]["name"], second["of"]["channels"]) == ("digits", 1)
    assert third["patches"]["size"] == 16


def test_limits_inside_hold_for_training_alone():
    data = load_data(load_recipe(TEXT, name="my.yaml").stages["teacher"], seed=0)
    assert (len(data.train), len(data.test)) == (60 + 50 + 40, 3 * 500)
    assert data.train.group_names == ("original", "colour", "patches")


def test_a_teacher_of_three_domains_and_its_students(tmp_path):
    run = run_recipe(load_recipe(TEXT, name="my.yaml"), tmp_path / "run", command=["test"], device="cpu")
    assert all(stage.finished for stage in run.stages())


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (
            "of: digits, patches",
            "of: digitz, patches",
            "setting 'of': source 'blended', setting 'of': unknown source 'digitz'. Did you mean 'digits'",
        ),
        ("seed: 3", "sed: 3", "setting 'of': source 'tinted' has no setting 'sed'. Did you mean 'seed'"),
        ("limit: 50", "limit: some", "source 'digits', setting 'limit' must be a whole number"),
        (
            "{name: digits, size: 16}",
            "{size: 16}",
            "setting 'patches': a source by name, or a mapping with a name",
        ),
        ("of: digits, patches", "patches", "source 'blended' needs the setting 'of'"),
        ("names: [original, colour, patches]", "names: 3", "source 'joined', setting 'names' must be a list"),
    ],
)
def test_mistakes_inside_are_explained(right, wrong, message):
    assert right in TEXT
    with pytest.raises(ConfigError) as caught:
        load_recipe(TEXT.replace(right, wrong), name="my.yaml")
    assert "stages.teacher.source (line 5)" in str(caught.value)
    assert message in str(caught.value)
