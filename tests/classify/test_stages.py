"""Stages end to end on real digits: products, exact resume, comparison, planning."""

from __future__ import annotations

import json

import pytest
import torch

from limbeck.classify.compare import run_compare
from limbeck.classify.config import CompareStage, DistillStage, TrainStage
from limbeck.classify.methods import METHODS
from limbeck.classify.planning import plan_compare, plan_distill, plan_train
from limbeck.classify.stages import run_distill, run_train
from limbeck.errors import Interrupted, ModelError
from limbeck.models import load, read_card
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder

DIGITS = {"name": "digits", "per_class": 6}
BUDGET = {"epochs": 2, "batch_size": 20, "log_every": 1, "augment": [{"name": "translate", "pixels": 1}]}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = StageFolder(tmp_path_factory.mktemp("teacher") / "teacher", "teacher")
    config = TrainStage.model_validate({"source": DIGITS, "model": "resnet8", "train": BUDGET})
    folder.begin(config.model_dump(mode="json"))
    run_train(config, folder, StageContext(seed=0, inputs={}, device="cpu"))
    return folder


def distill(path, teacher, terms, **train):
    folder = StageFolder(path, "student")
    config = DistillStage.model_validate(
        {"source": DIGITS, "model": "resnet8", "teacher": "teacher", "terms": terms, "train": {**BUDGET, **train}}
    )
    folder.begin(config.model_dump(mode="json"))
    run_distill(config, folder, StageContext(seed=1, inputs={"teacher": teacher.path}, device="cpu", smoke=True))
    return folder


def test_a_trained_classifier_leaves_everything_a_reader_needs(teacher):
    result = teacher.result()
    assert result["kind"] == "classifier"
    assert set(result["numbers"]) == {"accuracy", "parameters", "flops", "seconds"}
    assert result["components"] == [
        "augmentation:translate",
        "loss:cross_entropy",
        "model:resnet8",
        "source:digits",
    ]
    model = load(teacher.path)
    assert model.limbeck_data.class_names == tuple("0123456789")
    assert read_card(teacher.path)["spec"]["name"] == "resnet8"
    assert len(teacher.tables()["classes"]["rows"]) == 10
    assert teacher.figures()["confusion"]["kind"] == "matrix"
    scalars = teacher.read_scalars()
    assert [line["step"] for line in scalars if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["epoch"] for line in scalars if "test/accuracy" in line] == [1, 2]


@pytest.mark.parametrize("method", [m for m in METHODS if m != "control"])
def test_every_method_trains_and_its_product_stands_alone(method, teacher, tmp_path):
    folder = distill(tmp_path / "student", teacher, method)
    numbers = folder.result()["numbers"]
    assert 0 <= numbers["agreement"]["value"] <= 1
    names = load(folder.path).state_dict()
    assert not any("projector" in n or "teacher" in n for n in names)
    logged = {key for line in folder.read_scalars() for key in line if key.startswith("loss/")}
    assert len(logged) >= len(METHODS[method]["terms"])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stage_stopped_in_mid_epoch_ends_with_the_same_weights(teacher, tmp_path, monkeypatch, workers):
    from limbeck.classify.task import ClassifyTask

    whole = distill(tmp_path / "whole", teacher, "pefd", workers=workers, checkpoint_every=1)
    step, calls = ClassifyTask.step, []

    def stopping(self, batch):
        calls.append(0)
        if len(calls) == 5:
            raise Interrupted("stand-in for a signal")
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(ClassifyTask, "step", stopping)
        with pytest.raises(Interrupted):
            distill(tmp_path / "cut", teacher, "pefd", workers=workers, checkpoint_every=1)
    cut = distill(tmp_path / "cut", teacher, "pefd", workers=workers, checkpoint_every=1)
    a, b = load(whole.path).state_dict(), load(cut.path).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert whole.read_scalars() == cut.read_scalars()


def test_best_is_chosen_by_the_validation_share(teacher, tmp_path):
    folder = distill(tmp_path / "student", teacher, "kd", validation=0.25, keep="best")
    numbers = folder.result()["numbers"]
    curve = {line["epoch"]: line for line in folder.read_scalars() if "validation/accuracy" in line}
    best = max(curve, key=lambda epoch: (curve[epoch]["validation/accuracy"], -epoch))
    assert numbers["best_epoch"]["value"] == best
    assert numbers["accuracy"]["value"] == pytest.approx(curve[best]["test/accuracy"])


def test_a_comparison_has_its_control_and_an_equal_budget(teacher, tmp_path):
    config = CompareStage.model_validate(
        {
            "source": DIGITS,
            "model": "resnet8",
            "teacher": "teacher",
            "methods": {"kd": "kd", "pefd": "pefd"},
            "seeds": [0, 1],
            "train": BUDGET,
        }
    )
    folder = StageFolder(tmp_path / "students", "students")
    context = StageContext(seed=0, inputs={"teacher": teacher.path}, device="cpu", smoke=True)
    run_compare(config, folder, context)
    rows = folder.tables()["comparison"]["rows"]
    assert [row["method"] for row in rows] == ["teacher", "control", "kd", "pefd"]
    assert {len(t.read_scalars()) for t in folder.trials()} == {len(folder.trials()[0].read_scalars())}
    assert len(folder.trials()) == 6
    assert (folder.path / folder.result()["model"]).is_file()
    for row in rows[1:]:
        values = [
            t.result()["numbers"]["accuracy"]["value"] for t in folder.trials() if t.name.startswith(row["method"])
        ]
        assert row["accuracy"] == pytest.approx(sum(values) / 2)
    (folder.path / "result.json").unlink()
    before = {t.name: (t.path / "model.safetensors").stat().st_mtime_ns for t in folder.trials()}
    run_compare(config, folder, context)
    assert before == {t.name: (t.path / "model.safetensors").stat().st_mtime_ns for t in folder.trials()}


def test_teacher_and_data_that_do_not_belong_together_are_refused(teacher, tmp_path):
    config = DistillStage.model_validate(
        {
            "source": {"name": "digits", "size": 16},
            "model": {"name": "resnet8", "num_classes": 7},
            "teacher": "teacher",
            "terms": "kd",
            "train": BUDGET,
        }
    )
    context = StageContext(seed=0, inputs={"teacher": teacher.path}, device="cpu", smoke=True)
    with pytest.raises(ModelError, match="the model puts out 7 classes, the data has 10"):
        run_distill(config, StageFolder(tmp_path / "s", "s"), context)


def test_plans_say_what_a_recipe_will_cost(teacher):
    context = StageContext(seed=0, inputs={}, device="cpu")
    train = TrainStage.model_validate({"source": DIGITS, "model": "resnet14", "train": BUDGET})
    plan = plan_train(train, context, {})
    assert plan["steps"] == 6
    assert plan["parameters"] == plan["trainable_parameters"] > 100_000
    assert plan["seconds"] == pytest.approx(plan["seconds_per_step"] * 6)
    student = DistillStage.model_validate(
        {"source": DIGITS, "model": "resnet8", "teacher": "teacher", "terms": "pefd", "train": BUDGET}
    )
    planned = plan_distill(student, context, {"teacher": train})
    assert planned["trainable_parameters"] > planned["parameters"]
    both = CompareStage.model_validate(
        {
            **student.model_dump(mode="json", exclude={"kind", "terms", "views", "head", "seed"}),
            "methods": {"kd": "kd"},
            "seeds": [0, 1, 2],
        }
    )
    assert plan_compare(both, context, {"teacher": train})["steps"] == 6 * 2 * 3
    json.dumps(planned)


def test_one_method_leaves_the_student_of_the_next_alone_in_a_plan(teacher):
    context = StageContext(seed=0, inputs={"teacher": teacher.path}, device="cpu")
    config = CompareStage.model_validate(
        {
            "source": DIGITS,
            "model": "resnet8",
            "teacher": "teacher",
            "methods": {"simkd": "simkd", "kd": "kd", "pefd": "pefd"},
            "seeds": [0],
            "train": BUDGET,
        }
    )
    assert plan_compare(config, context, {})["steps"] == 6 * 4
