"""Students of small sets that are kept: what their files say, what is refused, and that an audit finds them."""

from __future__ import annotations

import pytest
import torch

from limbeck.audit.config import CompareStage
from limbeck.audit.opening import trials_of
from limbeck.dataset.config import EvaluateStage, LabelStage
from limbeck.dataset.image_set import ImageSet, Subset, save
from limbeck.dataset.preprocess import Normalisation, fit_whitening
from limbeck.dataset.stages.evaluate import run_evaluate
from limbeck.dataset.stages.kept import check_writable, replicate
from limbeck.dataset.stages.label import run_label
from limbeck.errors import ConfigError
from limbeck.models import load, read_card
from limbeck.models.reading import read_classifier
from limbeck.protocols import StageContext
from limbeck.recipes.schema import load_recipe
from limbeck.runs.folder import StageFolder
from limbeck.sources import build

DIGITS = {"source": {"name": "digits", "per_class": 10}}
NET = {"name": "convnet", "depth": 1, "width": 4, "image_size": 8}
STUDENTS = {"protocol": "dm", "epochs": 2, "augment": "", "seeds": [0, 1]}
LOOK = {**DIGITS, "sets": {"again": "s"}, "models": {"a": NET}, "labels": ["hard"], "students": STUDENTS}


def run(path, function, config, **inputs):
    folder = StageFolder(path, path.name)
    folder.begin(config.model_dump(mode="json"))
    function(config, folder, StageContext(seed=0, inputs=inputs, device="cpu"))
    return folder


def look(**changes):
    return EvaluateStage.model_validate({**LOOK, "keep_students": True, **changes})


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    config = LabelStage.model_validate({**DIGITS, "ipc": 2, "seed": 1})
    return run(tmp_path_factory.mktemp("again") / "again", run_label, config)


@pytest.fixture(scope="module")
def kept(again, tmp_path_factory):
    config = look(mean=(0.25,), std=(0.5,))
    made = LabelStage.model_validate({**DIGITS, "ipc": 2, "seed": 1, "mean": (0.25,), "std": (0.5,)})
    place = tmp_path_factory.mktemp("kept")
    return run(place / "look", run_evaluate, config, s=run(place / "set", run_label, made).path)


def test_a_file_says_what_its_student_needs_and_where_it_comes_from(kept):
    model = load(kept.path / "trials/again-hard-s1")
    facts = model.limbeck_data
    assert (facts.input_shape, facts.mean, facts.std) == ((1, 8, 8), (0.25,), (0.5,))
    assert facts.class_names == tuple("0123456789")
    notes = read_card(kept.path / "trials/again-hard-s1")["notes"]
    assert (notes["stage"], notes["cell"]["row"], notes["seed"]) == ("dataset.evaluate", "again", 1)


def test_a_file_is_right_on_as_many_images_as_the_table_says(kept):
    test = build("digits", split="test")
    for trial in kept.trials():
        model = read_classifier(str(trial.path))
        facts = model.limbeck_data
        with torch.no_grad():
            right = model((test.images / 255 - facts.mean[0]) / facts.std[0]).argmax(1) == test.labels
        assert float(right.double().mean()) == trial.result()["numbers"]["accuracy"]["value"]


def test_the_students_of_the_table_are_those_of_the_comparison(kept):
    assert kept.result()["kind"] == "comparison"
    found = trials_of(kept.path, control="random")
    assert [(one.name, one.role) for one in found] == [
        ("again-s0", "student"),
        ("again-s1", "student"),
        ("control-s0", "control"),
        ("control-s1", "control"),
    ]


def test_rates_that_were_only_tried_are_no_students_of_the_comparison(again, tmp_path):
    config = look(students={**STUDENTS, "rates": [0.1]}, validation=0.2)
    folder = run(tmp_path / "look", run_evaluate, config, s=again.path)
    assert len(folder.trials()) == 6
    listed = folder.result()["kept"]
    assert [(one["method"], one["seed"]) for one in listed] == [
        ("again", 0),
        ("again", 1),
        ("random", 0),
        ("random", 1),
    ]
    for method in ("again", "random"):
        assert len({("lr" in one["trial"]) for one in listed if one["method"] == method}) == 1


def test_several_networks_and_budgets_have_names_of_their_own(again, tmp_path):
    more = run(tmp_path / "more", run_label, LabelStage.model_validate({**DIGITS, "ipc": 1}))
    config = look(
        sets={"again": "s", "one": "o"}, models={"a": NET, "b": NET}, students={**STUDENTS, "seeds": [0]}
    )
    folder = run(tmp_path / "look", run_evaluate, config, s=again.path, o=more.path)
    methods = {one.method for one in trials_of(folder.path)}
    assert methods == {
        f"{name} {net}"
        for name in ("again", "one", "random 1 per class", "random 2 per class")
        for net in ("a", "b")
    }


def test_a_method_that_was_made_several_times_has_a_spread_over_its_sets(again, tmp_path):
    sets = {"drawn-s0": "s", "drawn-s1": "s"}
    one = run(tmp_path / "one", run_evaluate, look(sets=sets, students={**STUDENTS, "seeds": [7]}), s=again.path)
    assert [found.name for found in trials_of(one.path)] == ["drawn-s0", "drawn-s1", "random-s7"]
    # With several students of each, the spread would mix both, so they stay apart.
    assert replicate("drawn-s1", 0, look(sets=sets)) == ("drawn-s1", 0)


def test_whitened_sets_are_refused_before_anything_is_trained(again, tmp_path):
    with pytest.raises(ValueError, match=r"which ZCA is not; make the sets \(again\) without it"):
        look(whiten=True)
    pixels = torch.rand(20, 1, 8, 8)
    whitened = ImageSet(
        (Subset(pixels, torch.arange(20) % 10, None, None),), tuple("0123456789"), fit_whitening(pixels)
    )
    save(whitened, tmp_path / "set.safetensors")
    config = look(sets={"again": "s", "white": "w"})
    with pytest.raises(ConfigError, match=r"the set 'white' was made with zca.*Make the set with whiten: false"):
        run(tmp_path / "look", run_evaluate, config, s=again.path, w=tmp_path / "set.safetensors")
    assert not (tmp_path / "look/trials").exists()


def test_a_set_of_another_normalisation_is_refused():
    ours, theirs = Normalisation((0.5,), (0.25,)), Normalisation((0.1,), (0.25,))
    check_writable("x", ours, ours)
    with pytest.raises(ConfigError, match=r"'x' was normalised with mean \[0.1\]"):
        check_writable("x", theirs, ours)


def test_runs_that_were_begun_before_there_was_a_choice_go_on():
    for config, added in (
        (EvaluateStage.model_validate(LOOK), "keep_students"),
        (CompareStage.model_validate({"teacher": "t", "comparison": "c", "source": "digits"}), "control"),
    ):
        assert added not in config.model_dump(mode="json")
    assert look().model_dump(mode="json")["keep_students"] is True


RECIPE = """
title: x
stages:
  again: {kind: dataset.label, source: digits, ipc: 2}
  look: {kind: dataset.evaluate, source: digits, sets: {again: again}, models: {a: convnet3}, keep_students: KEEP}
  audit: {kind: audit.compare, teacher: {name: resnet8}, comparison: look, control: random, source: digits}
"""


def test_a_recipe_is_told_what_is_missing_before_it_runs():
    def checked(keep):
        return load_recipe(RECIPE.replace("KEEP", keep), name="x")

    assert checked("true").stages["look"].output == "comparison"
    with pytest.raises(
        ConfigError, match=r"'look' writes an evaluation; .*With keep_students: true it writes one"
    ):
        checked("false")
