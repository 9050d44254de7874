"""Stages end to end on scenes of digits: products, exact resume, comparison, measuring, planning."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from limbeck.detect.config import CompareStage, DistillStage, EvaluateStage, LabelStage, TrainStage
from limbeck.detect.labels import fingerprint
from limbeck.detect.planning import plan_compare, plan_distill, plan_evaluate, plan_label, plan_train
from limbeck.detect.stages.compare import run_compare
from limbeck.detect.stages.distill import run_distill
from limbeck.detect.stages.evaluate import run_evaluate
from limbeck.detect.stages.label import run_label
from limbeck.detect.stages.train import run_train
from limbeck.detect.task import DetectTask
from limbeck.errors import ConfigError, Interrupted, ModelError
from limbeck.models import DataConfig, build, save
from limbeck.models import load as load_model
from limbeck.models.detectors import load, predict
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder
from limbeck.sealed import Sealed
from limbeck.sources.detection.building import build_detection

SCENES = {"name": "digit_scenes", "count": 8, "size": 48, "objects": [1, 3], "clutter": 2}
SSD = {"name": "small_ssd", "size": [48, 48], "width": 4}
TRAIN = {"epochs": 2, "batch_size": 4, "log_every": 1, "augment": ["flip"]}
COMMON = {"source": SCENES, "model": SSD, "train": TRAIN, "scoring": {"pictures": 2}}


def run(path, function, config, seed=0, **inputs):
    folder = StageFolder(path, path.name)
    if not folder.path.exists():
        folder.begin(config.model_dump(mode="json"))
    paths = {name: getattr(given, "path", given) for name, given in inputs.items()}
    function(config, folder, StageContext(seed=seed, inputs=paths, device="cpu"))
    return folder


def changed(**changes):
    return {**COMMON, **changes}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A detector, a little wider than its students."""
    config = TrainStage.model_validate(changed(model={**SSD, "width": 8}))
    return run(tmp_path_factory.mktemp("large") / "large", run_train, config)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """The file of a classifier of digits."""
    torch.manual_seed(0)
    net = build("resnet8", num_classes=10, in_channels=3)
    file = tmp_path_factory.mktemp("classifier") / "model.safetensors"
    facts = DataConfig((3, 16, 16), (0.4,) * 3, (0.25,) * 3, tuple("0123456789"))
    save(net, file, spec=net.limbeck_spec, data=facts)
    return file


@pytest.fixture(scope="module")
def labels(classifier, tmp_path_factory):
    config = LabelStage.model_validate({"source": SCENES, "classifier": "classifier"})
    return run(tmp_path_factory.mktemp("labels") / "labels", run_label, config, classifier=classifier)


@pytest.fixture
def taught(large, classifier, labels):
    return {"large": large, "classifier": classifier, "labels": labels}


def distill_stage(**changes):
    given = {"classifier": "classifier", "detector": "large", **changes}
    return DistillStage.model_validate(changed(**given))


def test_a_trained_detector_leaves_everything_a_reader_needs(large):
    result = large.result()
    assert result["kind"] == "detector"
    assert result["model"] == "model.safetensors"
    assert {"AP", "AP50", "AP75", "parameters", "steps", "seconds"} <= set(result["numbers"])
    assert result["numbers"]["steps"]["value"] == 4
    assert result["numbers"]["extra_parameters"]["value"] == 0
    assert result["skipped"] == {}
    assert result["components"] == [
        "detection augmentation:flip",
        "detection source:digit_scenes",
        "detector:small_ssd",
    ]
    assert "on 8 images" in result["summary"]
    tables = large.tables()
    assert [row["class"] for row in tables["classes"]["rows"]] == list("0123456789")
    test = build_detection("digit_scenes", split="test", **{k: v for k, v in SCENES.items() if k != "name"})
    assert sum(row["objects"] for row in tables["classes"]["rows"]) == sum(test.box_counts)
    assert tables["average_precision"]["rows"][0]["AP"] == pytest.approx(result["numbers"]["AP"]["value"])
    assert "left_out" not in tables
    assert {"errors", "overlaps", "precision_recall", "error_cls", "error_loc"} <= set(large.figures())
    pictures = [Image.open(io.BytesIO(png)) for png, _ in large.images().values()]
    assert len(pictures) == 2
    assert [line["step"] for line in large.read_scalars() if "loss" in line] == [1, 2, 3, 4]


def test_a_trained_detector_is_rebuilt_from_its_file(large):
    model = load(large.path)
    assert model.limbeck_data.class_names == tuple("0123456789")
    assert model.limbeck_notes["stage"] == "detect.train"
    (found,) = predict(model, [torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(0))])
    assert set(found) == {"boxes", "labels", "scores"}


def test_labels_are_those_of_the_classifier(labels, classifier):
    result = labels.result()
    stored = Sealed(labels.path / result["labels"], again="")
    stored.verify()
    source = build_detection("digit_scenes", **{k: v for k, v in SCENES.items() if k != "name"})
    assert stored.tensors["logits"].shape == (sum(source.box_counts), 10)
    assert stored.card["classifier"] == fingerprint(load_model(classifier))
    assert result["numbers"]["objects"]["value"] == sum(source.box_counts)
    assert result["numbers"]["bytes"]["value"] == 40 * sum(source.box_counts)
    assert 0 <= result["numbers"]["accuracy"]["value"] <= 1


def test_a_student_of_both_teachers_stands_alone(taught, tmp_path):
    made = run(tmp_path / "student", run_distill, distill_stage(labels="labels"), **taught)
    result = made.result()
    used = {
        name.removeprefix("detection loss:") for name in result["components"] if name.startswith("detection loss")
    }
    assert used == {"kd_cls", "kd_loc_pixels", "kd_loc_features", "pkd"}
    logged = {key for line in made.read_scalars() for key in line if key.startswith("loss/")}
    assert {f"loss/{name}" for name in used} <= logged
    assert {"loss/bbox_regression", "loss/classification"} <= logged
    known = load(made.path).state_dict()
    alone = run(tmp_path / "alone", run_train, TrainStage.model_validate(COMMON))
    assert list(known) == list(load(alone.path).state_dict())
    numbers = alone.result()["numbers"]
    assert result["numbers"]["parameters"]["value"] == numbers["parameters"]["value"]


def test_stored_labels_teach_what_the_classifier_would(taught, tmp_path):
    """Crops of flipped images are the only difference; without flips there is none."""
    still = {**TRAIN, "augment": []}
    made = [
        run(
            tmp_path / name,
            run_distill,
            distill_stage(detector=None, method="kd_cls", train=still, **more),
            **taught,
        )
        for name, more in (("asked", {}), ("stored", {"labels": "labels"}))
    ]
    ours, theirs = ([line["loss/kd_cls"] for line in m.read_scalars() if "loss" in line] for m in made)
    assert ours[0] == pytest.approx(theirs[0], rel=0.15)


@pytest.mark.parametrize(
    "method",
    ["alone", "dicod+pkd", [{"loss": "mgd"}, {"loss": "kd_loc_features"}, {"loss": "fgfi", "start": 3}]],
    ids=["alone", "dicod+pkd", "with weights of its own"],
)
def test_a_stage_stopped_in_mid_epoch_ends_with_the_same_weights(method, taught, tmp_path, monkeypatch):
    train = {**TRAIN, "batch_size": 2, "checkpoint_every": 1, "ema": 0.9, "augment": ["flip", "zoom_out"]}
    config = distill_stage(method=method, train=train, teaching={"max_positives": 2})
    whole = run(tmp_path / "whole", run_distill, config, **taught)
    step, calls = DetectTask.step, []

    def stopping(self, batch):
        calls.append(0)
        if len(calls) == 4:
            raise Interrupted("stand-in for a signal")
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(DetectTask, "step", stopping)
        with pytest.raises(Interrupted):
            run(tmp_path / "cut", run_distill, config, **taught)
    assert not (tmp_path / "cut/model.safetensors").exists()
    cut = run(tmp_path / "cut", run_distill, config, **taught)
    assert (cut.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()
    assert cut.read_scalars() == whole.read_scalars()


def test_the_best_epoch_is_chosen_on_the_validation_split(taught, tmp_path, monkeypatch):
    from limbeck.detect.scoring import Scores

    aps, asked = iter([0.2, 0.9, 0.1]), Scores.numbers

    def stand_in(self):
        found = asked(self)
        return {**found, "AP": {**found["AP"], "value": next(aps, found["AP"]["value"])}}

    monkeypatch.setattr(Scores, "numbers", stand_in)
    train = {**TRAIN, "epochs": 3, "evaluate_every": 1, "keep": "best"}
    made = run(tmp_path / "student", run_train, TrainStage.model_validate(changed(train=train)))
    lines = [line for line in made.read_scalars() if "validation/AP" in line]
    assert [line["validation/AP"] for line in lines] == [0.2, 0.9, 0.1]
    assert made.result()["numbers"]["best_epoch"]["value"] == 2
    monkeypatch.undo()
    # The weights are those after two of the three epochs of the schedule.
    short = run(tmp_path / "short", run_train, TrainStage.model_validate(changed(train={**train, "keep": "last"})))
    assert "best_epoch" not in short.result()["numbers"]
    ours, theirs = load(made.path).state_dict(), load(short.path).state_dict()
    assert not all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_training_goes_on_from_another_detector(large, tmp_path):
    still = {**TRAIN, "steps": 1, "optimizer": {"name": "sgd", "lr": 1e-12}}
    config = TrainStage.model_validate(changed(model={**SSD, "width": 8}, start_from="large", train=still))
    made = run(tmp_path / "on", run_train, config, large=large)
    for ours, theirs in zip(load(made.path).parameters(), load(large.path).parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_a_comparison_has_its_control_and_an_equal_budget(taught, tmp_path, monkeypatch):
    config = CompareStage.model_validate(
        changed(
            classifier="classifier",
            detector="large",
            labels="labels",
            methods={"KD_cls": "kd_cls", "PKD": "pkd"},
            seeds=[0, 1],
            train={**TRAIN, "epochs": 1},
        )
    )
    made = run(tmp_path / "students", run_compare, config, **taught)
    rows = made.tables()["comparison"]["rows"]
    methods = [row["method"] for row in rows]
    assert {"control", "KD_cls", "PKD", "teacher"} <= set(methods)
    assert len(made.trials()) == 6
    assert {len(t.read_scalars()) for t in made.trials()} == {len(made.trials()[0].read_scalars())}
    for row in (row for row in rows if row["method"] in ("control", "KD_cls", "PKD")):
        values = [made.trial(f"{row['method']}-s{s}").result()["numbers"]["AP"]["value"] for s in (0, 1)]
        assert row["AP"] == pytest.approx(sum(values) / 2)
    assert (made.path / made.result()["model"]).is_file()
    assert {"ap", "ap50", "ap75", "error_cls", "error_loc"} <= set(made.figures())
    assert len(made.images()) == 2
    assert [row["method"] for row in made.tables()["errors"]["rows"]] == [
        "teacher",
        "control",
        "KD_cls",
        "PKD",
    ]
    assert not list(made.path.rglob("checkpoints"))

    # Finished trials are read back, not trained again.
    (made.path / "result.json").unlink()
    before = {t.name: (t.path / "model.safetensors").stat().st_mtime_ns for t in made.trials()}
    numbers = made.tables()["comparison"]["rows"]
    monkeypatch.setattr(DetectTask, "step", None)
    run(tmp_path / "students", run_compare, config, **taught)
    assert before == {t.name: (t.path / "model.safetensors").stat().st_mtime_ns for t in made.trials()}
    assert made.tables()["comparison"]["rows"] == numbers


def test_an_interrupted_comparison_ends_the_same(taught, tmp_path, monkeypatch):
    train = {**TRAIN, "epochs": 1, "batch_size": 2, "checkpoint_every": 1}
    config = CompareStage.model_validate(
        changed(detector="large", methods={"PKD": "pkd"}, seeds=[0], train=train, scoring={"pictures": 0})
    )
    whole = run(tmp_path / "whole", run_compare, config, **taught)
    step, calls = DetectTask.step, []

    def stopping(self, batch):
        calls.append(0)
        if len(calls) == 7:  # in the second student
            raise Interrupted("stand-in for a signal")
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(DetectTask, "step", stopping)
        with pytest.raises(Interrupted):
            run(tmp_path / "cut", run_compare, config, **taught)
    cut = run(tmp_path / "cut", run_compare, config, **taught)
    for name in ("control-s0", "PKD-s0"):
        one, other = (m.trial(name).path / "model.safetensors" for m in (whole, cut))
        assert one.read_bytes() == other.read_bytes()


def test_detectors_are_measured_side_by_side(large, tmp_path):
    student = run(tmp_path / "student", run_train, TrainStage.model_validate(COMMON))
    config = EvaluateStage.model_validate(
        {
            "source": SCENES,
            "detectors": {"large": "large", "small": "student"},
            "scoring": {"pictures": 1},
        }
    )
    made = run(tmp_path / "scores", run_evaluate, config, large=large, student=student)
    result = made.result()
    rows = made.tables()["average_precision"]["rows"]
    assert [row["detector"] for row in rows] == ["large", "small"]
    for name, folder in (("large", large), ("small", student)):
        assert result["numbers"][f"{name}_AP"]["value"] == pytest.approx(folder.result()["numbers"]["AP"]["value"])
    for name in ("cost_cls", "cost_loc"):
        assert [bar["label"] for bar in made.figures()[name]["bars"]] == ["large", "small"]
    assert [line["label"] for line in made.figures()["precision_recall"]["series"]] == ["large", "small"]
    assert {"category", "before", "after", "change"} <= set(made.tables()["change-small"]["rows"][0])
    assert len(made.images()) == 1


def test_one_detector_is_measured_on_another_split(large, tmp_path):
    config = EvaluateStage.model_validate(
        {"source": SCENES, "detectors": {"large": "large"}, "scoring": {"split": "train", "pictures": 0}}
    )
    made = run(tmp_path / "scores", run_evaluate, config, large=large)
    train = build_detection("digit_scenes", **{k: v for k, v in SCENES.items() if k != "name"})
    assert sum(row["objects"] for row in made.tables()["classes"]["rows"]) == sum(train.box_counts)
    assert not made.images()


def test_detectors_of_other_classes_do_not_teach(tmp_path, labels, classifier):
    from limbeck.models.detectors import build_detector
    from limbeck.models.detectors import save as save_detector

    net = build_detector("small_ssd", num_classes=2, size=(48, 48), width=4)
    save_detector(net, tmp_path / "other.safetensors", class_names=("cat", "dog"))
    config = distill_stage(classifier=None, detector="other")
    with pytest.raises(ModelError, match=r"'other' finds cat, dog; the data have 0, 1"):
        run(tmp_path / "student", run_distill, config, other=tmp_path / "other.safetensors")


def test_stored_labels_refuse_pixels_that_move(taught, tmp_path):
    config = distill_stage(labels="labels", train={**TRAIN, "augment": ["iou_crop"]})
    with pytest.raises(ConfigError, match="'iou_crop' changes what a crop"):
        run(tmp_path / "student", run_distill, config, **taught)


def test_plans_name_steps_and_bytes(large, classifier, labels):
    context = StageContext(seed=0, inputs={"large": large.path, "classifier": classifier}, device="cpu")
    alone = plan_train(TrainStage.model_validate(COMMON), context, {})
    assert (alone["steps"], alone["seconds"] > 0) == (4, True)
    assert plan_distill(distill_stage(), context, {})["steps"] == 4
    for start in ("start_from", "start_backbone"):
        onwards = TrainStage.model_validate(changed(**{start: "later"}))
        assert plan_train(onwards, context, {})["steps"] == 4
    waiting = plan_distill(distill_stage(classifier="later"), context, {})
    assert "not made yet: later" in waiting["notes"][0]
    compare = CompareStage.model_validate(changed(detector="large", methods={"a": "pkd", "b": "cwd"}))
    planned = plan_compare(compare, context, {})
    assert planned["steps"] == 4 * 9
    assert "9 students" in planned["notes"]
    label = plan_label(LabelStage.model_validate({"source": SCENES, "classifier": "classifier"}), context, {})
    assert any("bytes on disk" in note for note in label["notes"])
    scores = EvaluateStage.model_validate({"source": SCENES, "detectors": {"a": "large", "b": "large"}})
    assert plan_evaluate(scores, context, {})["steps"] == 16
