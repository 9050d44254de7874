"""Three lines of Python: names, objects and files all work, and mistakes are explained."""

from __future__ import annotations

import copy
import sys

import pytest
import torch

import limbeck
from limbeck.detect import distill, evaluate, label_objects, train
from limbeck.detect.classifier import ClassifierTeacher
from limbeck.detect.labels import write_labels
from limbeck.errors import ConfigError, DataError, InputError, MissingExtraError, ModelError
from limbeck.models import DataConfig, build, save
from limbeck.sources.detection.building import from_mapping

SCENES = {"name": "digit_scenes", "count": 4, "size": 48, "objects": [1, 2], "clutter": 0}
SSD = {"name": "small_ssd", "size": [64, 64], "width": 4}
BUDGET = {"steps": 1, "batch_size": 4}
QUIET = {"pictures": 1}


@pytest.fixture
def known(classifier, names):
    """A classifier of the shapes that says what it was trained on."""
    classifier.limbeck_data = DataConfig((3, 16, 16), (0.4,) * 3, (0.2,) * 3, names)
    return classifier


def test_a_detector_is_trained_by_name(tmp_path):
    run = train(SSD, SCENES, train=BUDGET, scoring=QUIET, out=tmp_path / "run")
    assert {"AP", "AP50", "AP75", "parameters", "steps", "seconds"} <= set(run.numbers)
    again = limbeck.load(run.model_file)
    assert again.limbeck_data.class_names == tuple("0123456789")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), run.model.parameters(), strict=True))
    assert not run.model.training


def test_a_finished_run_is_read_and_another_budget_is_refused(tmp_path):
    first = train(SSD, SCENES, train=BUDGET, scoring=QUIET, out=tmp_path / "run")
    stamp = first.model_file.stat().st_mtime_ns
    again = train(SSD, SCENES, train=BUDGET, scoring=QUIET, out=tmp_path / "run")
    assert again.model_file.stat().st_mtime_ns == stamp
    assert again.numbers == first.numbers
    with pytest.raises(ConfigError, match=r"train\.steps: 1 -> 2"):
        train(SSD, SCENES, train={**BUDGET, "steps": 2}, scoring=QUIET, out=tmp_path / "run")


def test_modules_and_a_source_of_ones_own(shapes, detectors, known, tmp_path):
    student, large = detectors("small_ssd"), detectors("small_ssd", seed=9)
    before = copy.deepcopy(large.state_dict())
    run = distill(
        student,
        shapes,
        classifier=known,
        detector=large,
        test_source=shapes,
        train=BUDGET,
        scoring=QUIET,
        out=tmp_path / "run",
    )
    assert run.model is student
    logged = {key for line in (run.folder / "student/scalars.jsonl").read_text().splitlines() for key in [line]}
    for term in ("kd_cls", "kd_loc_pixels", "kd_loc_features", "pkd"):
        assert any(f'"loss/{term}"' in line for line in logged)
    assert all(torch.equal(before[key], value) for key, value in large.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in large.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in known.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in student.modules())


def test_files_teach_as_modules_do(shapes, detectors, known, tmp_path):
    save(known, tmp_path / "classifier.safetensors", spec=known.limbeck_spec, data=known.limbeck_data)
    runs = [
        distill(
            SSD,
            shapes,
            classifier=given,
            test_source=shapes,
            train=BUDGET,
            scoring=QUIET,
            out=tmp_path / str(place),
        )
        for place, given in enumerate((known, tmp_path / "classifier.safetensors"))
    ]
    a, b = (run.model.state_dict() for run in runs)
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_stored_labels_teach_without_their_classifier(shapes, known, names, tmp_path):
    teacher = ClassifierTeacher(known, known.limbeck_data, names)
    logits = label_objects(shapes, teacher, device=torch.device("cpu"))
    write_labels(tmp_path, logits, source=shapes, classifier=teacher)
    run = distill(
        SSD,
        shapes,
        labels=tmp_path,
        method="kd_cls",
        test_source=shapes,
        train=BUDGET,
        scoring=QUIET,
        out=tmp_path / "run",
    )
    assert run.numbers["steps"] == 1


def test_a_detector_is_measured_as_the_run_says(shapes, tmp_path):
    run = train(SSD, shapes, test_source=shapes, train=BUDGET, scoring=QUIET, out=tmp_path / "run")
    for given in (run.model, run.model_file, str(run.model_file)):
        found = evaluate(given, shapes)
        assert found.numbers()["AP"]["value"] == pytest.approx(run.numbers["AP"])


def test_training_images_are_not_measured_unasked(shapes, tmp_path):
    with pytest.raises(ConfigError, match="test_source is missing"):
        train(SSD, shapes, train=BUDGET, scoring=QUIET, out=tmp_path / "run")
    run = train(SSD, shapes, train=BUDGET, scoring={**QUIET, "split": "train"}, out=tmp_path / "run")
    # An object is measured as it is, whatever its split is called.
    found = evaluate(run.model, shapes, scoring={"split": "validation"})
    assert found.numbers()["AP"]["value"] == pytest.approx(run.numbers["AP"])


def test_what_is_measured_has_the_classes_that_were_learnt(shapes, tmp_path):
    other = copy.copy(shapes)
    other.class_names = tuple(reversed(shapes.class_names))
    with pytest.raises(ConfigError, match="test_source has the classes cross, square, circle"):
        train(SSD, shapes, test_source=other, train=BUDGET, out=tmp_path / "run")


def test_the_best_epoch_is_not_chosen_on_what_is_measured(tmp_path):
    stand_in = from_mapping(SCENES, split="validation")
    budget = {**BUDGET, "evaluate_every": 1, "keep": "best"}
    with pytest.raises(ConfigError, match="would choose the epoch on the very images that are measured"):
        train(SSD, SCENES, test_source=stand_in, train=budget, out=tmp_path / "run")


def test_a_limit_that_leaves_no_object_is_told(shapes, detectors):
    shapes.samples = [shapes.samples[2], *shapes.samples]
    shapes.box_counts = [0, *shapes.box_counts]
    with pytest.raises(DataError, match="none of the 1 images of the split has a box"):
        evaluate(detectors("small_ssd"), shapes, scoring={"limit": 1})


def test_a_single_image_at_the_end_of_an_epoch_is_seen_coming(shapes, tmp_path):
    budget = {"epochs": 1, "batch_size": 5}  # six images
    with pytest.raises(ConfigError, match=r"leaves a process a single image.*'backbone\.blocks\.4\.bn1' has one"):
        train(SSD, shapes, test_source=shapes, train=budget, scoring=QUIET, out=tmp_path / "small")
    larger = {**SSD, "size": [65, 65]}
    run = train(larger, shapes, test_source=shapes, train=budget, scoring=QUIET, out=tmp_path / "larger")
    assert run.numbers["steps"] == 2


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    from limbeck.detect.task import DetectTask
    from limbeck.errors import Interrupted

    budget = {"steps": 3, "batch_size": 2, "checkpoint_every": 1}
    whole = train(SSD, SCENES, train=budget, scoring=QUIET, out=tmp_path / "whole")
    step, calls = DetectTask.step, []

    def stopping(self, batch):
        calls.append(0)
        if len(calls) == 2:
            raise Interrupted("stand-in for a signal")
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(DetectTask, "step", stopping)
        with pytest.raises(Interrupted):
            train(SSD, SCENES, train=budget, scoring=QUIET, out=tmp_path / "cut")
    cut = train(SSD, SCENES, train=budget, scoring=QUIET, out=tmp_path / "cut")
    assert cut.model_file.read_bytes() == whole.model_file.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"method": "dicodd"}, ConfigError, "Did you mean 'dicod'"),
        ({"train": {"epoch": 3, "batch_size": 0}}, ConfigError, "has 2 problems"),
        ({"train": {"keep": "best"}}, ConfigError, "say evaluate_every: 1"),
        ({"train": {"evaluate_every": 1}}, ConfigError, "a source given as an object lacks"),
        ({"model": "smal_ssd"}, InputError, "Did you mean"),
        ({"model": {"name": "small_ssd", "widht": 4}}, InputError, "Did you mean 'width'"),
        ({"classifier": None}, ConfigError, "who teaches"),
        ({"method": "crosskd"}, ConfigError, "asks a larger detector"),
        ({"teaching": {"crop_sise": 3}}, ConfigError, "crop_sise"),
        ({"scoring": {"split": "tset"}}, ConfigError, "tset"),
        ({"source": "digit_scene"}, InputError, "Did you mean"),
        ({"source": {**SCENES, "split": "test"}}, ConfigError, "split"),
        ({"classifier": "nowhere.safetensors"}, InputError, "nowhere"),
        ({"detector": "nowhere.safetensors"}, InputError, "nowhere"),
    ],
)
def test_mistakes_are_explained(shapes, known, tmp_path, arguments, error, message):
    given = {
        "model": SSD,
        "source": shapes,
        "classifier": known,
        "train": BUDGET,
        "out": tmp_path / "run",
        **arguments,
    }
    with pytest.raises(error, match=message):
        distill(given.pop("model"), given.pop("source"), test_source=shapes, **given)
    assert not (tmp_path / "run/student/model.safetensors").exists()


def test_a_student_of_other_classes_is_refused(shapes, known, tmp_path):
    from limbeck.models.detectors import build_detector

    student = build_detector("small_ssd", num_classes=7, size=(64, 64), width=4)
    with pytest.raises(ModelError, match=r"7 classes.*3"):
        distill(student, shapes, classifier=known, test_source=shapes, train=BUDGET, out=tmp_path / "run")


def test_a_large_detector_of_other_classes_is_refused(shapes, tmp_path):
    from limbeck.models.detectors import build_detector

    large = build_detector("small_ssd", num_classes=7, size=(64, 64), width=4)
    with pytest.raises(ModelError, match=r"7 classes.*3"):
        distill(SSD, shapes, detector=large, test_source=shapes, train=BUDGET, out=tmp_path / "run")


def test_classifiers_and_detectors_are_not_mixed_up(shapes, known, detectors, tmp_path):
    for mixed in ({"classifier": detectors("small_ssd")}, {"detector": known}):
        with pytest.raises(ModelError, match=r"classifier|detector"):
            distill(SSD, shapes, test_source=shapes, train=BUDGET, out=tmp_path / "run", **mixed)
    with pytest.raises(ModelError, match="detector"):
        train(known, shapes, test_source=shapes, train=BUDGET, out=tmp_path / "run")


def test_a_classifier_that_says_nothing_of_its_input_is_refused(shapes, tmp_path):
    bare = build("resnet8", num_classes=3, in_channels=3)
    with pytest.raises(ModelError, match="nothing says how its input is normalised"):
        distill(SSD, shapes, classifier=bare, test_source=shapes, train=BUDGET, out=tmp_path / "run")


def test_sources_without_any_object_are_refused(shapes, tmp_path):
    shapes.samples = [shapes.samples[2]] * 2
    shapes.box_counts = [0, 0]
    with pytest.raises(DataError, match="none of the 2 images of the split has a box"):
        train(SSD, shapes, test_source=shapes, train=BUDGET, out=tmp_path / "run")


def test_the_library_that_measures_is_asked_for_first(shapes, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "faster_coco_eval"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(MissingExtraError, match=r"limbeck\[detect\]"):
        train(SSD, shapes, test_source=shapes, train=BUDGET, out=tmp_path / "run")
