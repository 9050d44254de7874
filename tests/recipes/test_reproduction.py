"""Which run belongs to which published cell, and what it comes to; run folders are constructed, nothing trains."""

from __future__ import annotations

from statistics import stdev

import pytest

from limbeck.recipes import catalogue, published
from limbeck.recipes.reproduction import reproduce
from limbeck.recipes.schema import load_recipe
from limbeck.runs import RunFolder

NAME = "cifar100/resnet32x4-resnet8x4"
TABLE = """\
same_data: [torchvision/cifar100, parquet]
tables:
  small:
    title: Small
    cells:
      - {row: teacher, column: a, recipe: NAME, stage: teacher, reported: 79.42, source: README}
      - {row: KD, column: a, recipe: NAME, variant: kd, reported: 73.33, source: README}
      - {row: FitNet, column: a, recipe: NAME, variant: hint, reported: 73.50, source: README}
      - {row: AB, column: a, recipe: null, reported: 73.17, source: README, reason: no such loss}
""".replace("NAME", NAME)
PARQUET = tuple(f"{stage}.source={{name: parquet, root: elsewhere}}" for stage in ("teacher", "student"))


@pytest.fixture
def make(tmp_path):
    """Write the folder of a finished run with given accuracies."""

    def written(place, *overrides, variant=None, smoke=False, accuracy=(0.79, 0.73), unfinished=()):
        text = catalogue.read(NAME)[1]
        recipe = load_recipe(text, name=NAME, variant=variant, smoke=smoke, overrides=overrides)
        run = RunFolder.create(tmp_path / place, recipe_text=text, resolved=recipe.resolved, provenance={})
        for name, value in zip(recipe.stages, accuracy, strict=True):
            run.stage(name).begin(recipe.stage_config(name))
            if name not in unfinished:
                run.stage(name).write_result(
                    {"kind": "classifier", "numbers": {"accuracy": {"value": value}}, "summary": ""}
                )
        return run

    return written


def cells(*runs, **options):
    file = published.parse(TABLE, "tables.yaml")
    return {c.cell.row: c for c in reproduce(file.tables["small"], file, runs, **options)}


def test_runs_that_differ_in_seed_alone_are_averaged(make):
    runs = [make(f"r{s}", f"seed={s}", variant="kd", accuracy=(0.79, a)) for s, a in enumerate((0.73, 0.74, 0.72))]
    found = cells(*runs)
    assert found["KD"].mean == pytest.approx(73.0)
    assert found["KD"].deviation == pytest.approx(stdev((73, 74, 72)))
    assert found["KD"].difference == pytest.approx(73.0 - 73.33)
    assert [t.seed for t in found["KD"].trials] == [0, 1, 2]
    assert found["KD"].faithful
    # The teacher's seed is fixed: three runs of one teacher are one trial.
    assert (len(found["teacher"].trials), found["teacher"].mean) == (1, pytest.approx(79.0))
    assert found["teacher"].deviation is None
    assert (found["FitNet"].mean, found["FitNet"].difference, found["AB"].mean) == (None, None, None)


def test_a_run_without_the_variant_s_name_counts_where_its_settings_are_equal(make):
    assert cells(make("r"))["KD"].mean == pytest.approx(73.0)


def test_a_run_of_another_variant_says_something_of_the_teacher_alone(make):
    found = cells(make("r", variant="hint"))
    assert (found["KD"].mean, found["KD"].left_out) == (None, ())
    assert found["FitNet"].mean == pytest.approx(73.0)
    assert found["teacher"].mean == pytest.approx(79.0)


def test_where_the_data_lies_and_how_fast_it_goes_is_no_change(make):
    speed = ("student.train.workers=3", "student.train.log_every=1", "teacher.train.evaluate_every=1")
    found = cells(make("r", *PARQUET, *speed, variant="kd"))
    assert (found["KD"].mean, found["KD"].faithful) == (pytest.approx(73.0), True)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("student.train.epochs=2", "student.train.epochs: 240 -> 2"),
        ("student.source.limit=100", "student.source.limit: null -> 100"),
        ("student.source={name: digits}", "student.source.name: torchvision/cifar100 -> digits"),
        ("student.terms.1.weight=0.5", "student.terms.1.weight: 0.9 -> 0.5"),
        ("teacher.train.epochs=2", "teacher.train.epochs: 240 -> 2"),
    ],
)
def test_a_run_that_was_changed_does_not_count_unless_asked_for(make, override, said):
    if ".terms." in override:
        override = (
            "student.terms=[{loss: cross_entropy, weight: 0.1}, {loss: {name: kd, temperature: 4}, weight: 0.5}]"
        )
    run = make("r", override, variant="kd")
    found = cells(run)["KD"]
    assert found.mean is None
    assert [t.changes for t in found.changed] == [(said,)]
    asked = cells(run, changed=True)["KD"]
    assert (asked.mean, asked.faithful) == (pytest.approx(73.0), False)


def test_a_smoke_run_does_not_count(make):
    found = cells(make("r", variant="kd", smoke=True))
    assert found["KD"].mean is None
    assert found["KD"].changed[0].changes


def test_a_faithful_run_comes_before_changed_ones(make):
    runs = [make("a", "student.train.epochs=2", variant="kd", accuracy=(0.79, 0.10)), make("b", variant="kd")]
    found = cells(*runs, changed=True)["KD"]
    assert (found.mean, found.faithful, len(found.left_out)) == (pytest.approx(73.0), True, 1)


def test_of_changed_runs_those_with_the_most_seeds_count(make):
    runs = [
        make("a", "student.train.epochs=2", variant="kd", accuracy=(0.79, 0.10)),
        make("b", "student.train.epochs=3", variant="kd", accuracy=(0.79, 0.20)),
        make("c", "student.train.epochs=3", "seed=1", variant="kd", accuracy=(0.79, 0.30)),
    ]
    assert cells(*runs, changed=True)["KD"].mean == pytest.approx(25.0)


def test_a_seed_counts_once(make):
    found = cells(make("a", variant="kd"), make("b", variant="kd", accuracy=(0.79, 0.10)))["KD"]
    assert (found.mean, len(found.trials), len(found.left_out)) == (pytest.approx(73.0), 1, 1)


def test_an_unfinished_stage_says_nothing_and_its_teacher_does(make):
    found = cells(make("a", variant="kd", unfinished=("student",)))
    assert (found["KD"].mean, found["teacher"].mean) == (None, pytest.approx(79.0))


def test_a_result_without_a_number_says_nothing(make):
    run = make("a", variant="kd")
    run.stage("student").write_result({"kind": "classifier", "numbers": {"accuracy": {"value": float("nan")}}})
    assert cells(run)["KD"].mean is None


def test_settings_that_came_later_are_taken_at_their_default(make):
    import json

    run = make("a", variant="kd")
    path = run.stage("student").path / "config.json"
    config = json.loads(path.read_text())
    del config["train"]["clip_norm"]
    path.write_text(json.dumps(config))
    assert cells(run)["KD"].faithful
    assert cells(run)["KD"].mean == pytest.approx(73.0)


def test_a_run_of_another_recipe_says_nothing(make):
    run = make("a", variant="kd")
    run.resolved["name"] = "mine"
    assert all(c.mean is None and not c.left_out for c in cells(run).values())


FLOW = """\
same_data: [torchvision/cifar10]
tables:
  small:
    title: Small
    unit: FID
    better: lower
    cells:
      - {row: G, column: one, recipe: flow/cifar10, variant: ve, stage: look, number: G_fid_1, reported: 3.07,
         source: x}
"""


def test_a_cell_may_name_its_number_and_weights_may_lie_anywhere(tmp_path):
    text = catalogue.read("flow/cifar10")[1]
    elsewhere = ["teacher.weights=/w.safetensors", "look.scoring.inception_weights=/i.pth"]
    elsewhere += ["student.distance.vgg_weights=/v.pth", "tuned.distance.vgg_weights=/v.pth"]
    recipe = load_recipe(text, name="flow/cifar10", variant="ve", overrides=elsewhere)
    run = RunFolder.create(tmp_path / "run", recipe_text=text, resolved=recipe.resolved, provenance={})
    for name in recipe.stages:
        run.stage(name).begin(recipe.stage_config(name))
        numbers = {"G_fid_1": {"value": 3.25, "unit": ""}, "F_fid_1": {"value": 9.0, "unit": ""}}
        run.stage(name).write_result({"kind": "scores", "numbers": numbers, "summary": ""})
    file = published.parse(FLOW, "tables.yaml")
    (found,) = reproduce(file.tables["small"], file, [run])
    assert (found.mean, found.faithful) == (3.25, True)
    assert found.difference == pytest.approx(0.18)
