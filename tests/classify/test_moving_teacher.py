"""The student's own average as a teacher: what it is, when it moves, and that a resumed run keeps it."""

from __future__ import annotations

import pytest
import torch

from limbeck.classify.config import DistillStage
from limbeck.classify.moving_teacher import MovingTeacher
from limbeck.classify.stages import run_distill
from limbeck.errors import ConfigError, Interrupted
from limbeck.models import load
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder

STAGE = {
    "source": {"name": "digits", "per_class": 4},
    "model": "resnet8",
    "teacher": {"ema": 0.9},
    "terms": "kd",
    "train": {"epochs": 2, "batch_size": 20, "log_every": 1},
}


def test_it_follows_the_weights_once_for_each_step(tiny):
    torch.manual_seed(0)
    student = tiny()
    average = MovingTeacher(student, 0.75)
    before = average.network.fc.weight.clone()
    average.follow(student)
    assert torch.equal(average.network.fc.weight, before)
    with torch.no_grad():
        student.fc.weight.add_(1.0)
        student.conv.weight.add_(0.0)  # an optimizer writes to every weight
    average.follow(student)
    torch.testing.assert_close(average.network.fc.weight, before + 0.25)
    average.follow(student)
    torch.testing.assert_close(average.network.fc.weight, before + 0.25)


def test_it_rests_in_eval_mode_and_learns_nothing(tiny):
    average = MovingTeacher(tiny(), 0.9)
    average.train()
    assert not any(module.training for module in average.modules())
    assert not any(p.requires_grad for p in average.parameters())


def distill(path, stage=STAGE):
    folder = StageFolder(path, "student")
    config = DistillStage.model_validate(stage)
    folder.begin(config.model_dump(mode="json"))
    run_distill(config, folder, StageContext(seed=0, inputs={}, device="cpu"))
    return folder


def test_a_student_teaches_itself_and_resumes_exactly(tmp_path, monkeypatch):
    from limbeck.classify.task import ClassifyTask

    whole = distill(tmp_path / "whole", {**STAGE, "train": {**STAGE["train"], "checkpoint_every": 1}})
    lines = [line for line in whole.read_scalars() if "loss" in line]
    assert all(line["loss/kd"] >= 0 for line in lines)
    assert lines[-1]["loss/kd"] > 0
    step, calls = ClassifyTask.step, []

    def stopping(self, batch):
        calls.append(0)
        if len(calls) == 4:
            raise Interrupted("stand-in for a signal")
        return step(self, batch)

    stage = {**STAGE, "train": {**STAGE["train"], "checkpoint_every": 1}}
    with monkeypatch.context() as patch:
        patch.setattr(ClassifyTask, "step", stopping)
        with pytest.raises(Interrupted):
            distill(tmp_path / "cut", stage)
    cut = distill(tmp_path / "cut", stage)
    a, b = load(whole.path).state_dict(), load(cut.path).state_dict()
    assert set(a) == set(b)
    assert not any("average" in name for name in a)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert whole.read_scalars() == cut.read_scalars()
    assert "agreement" not in whole.result()["numbers"]


def test_its_outputs_cannot_be_stored(tmp_path):
    with pytest.raises(ConfigError, match="changes at every step"):
        distill(tmp_path / "s", {**STAGE, "stored": "somewhere"})
