"""Three lines of Python: names, objects and files all work, and mistakes are explained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import limbeck
from limbeck.errors import ConfigError, InputError, ModelError

BUDGET = {"steps": 3, "batch_size": 16}


def test_teacher_student_and_data_in_model_and_folder_out(tiny, tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (60, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(60) % 3
    torch.manual_seed(0)
    run = limbeck.distill(
        tiny(width=6, classes=3), tiny(classes=3), (images, labels), train=BUDGET, out=tmp_path / "run"
    )
    assert set(run.numbers) == {"accuracy", "agreement", "flops", "parameters", "seconds"}
    again = limbeck.load(run.model_file, into=tiny(classes=3))
    pictures = torch.rand(2, 1, 8, 8)
    assert torch.equal(again(pictures), run.model(pictures))


def test_a_finished_run_is_read_and_another_budget_is_refused(tmp_path):
    first = limbeck.train("resnet8", {"name": "digits", "per_class": 4}, train=BUDGET, out=tmp_path / "run")
    stamp = first.model_file.stat().st_mtime_ns
    again = limbeck.train("resnet8", {"name": "digits", "per_class": 4}, train=BUDGET, out=tmp_path / "run")
    assert again.model_file.stat().st_mtime_ns == stamp
    assert again.numbers == first.numbers
    with pytest.raises(ConfigError, match=r"train\.steps: 3 -> 4"):
        limbeck.train(
            "resnet8", {"name": "digits", "per_class": 4}, train={**BUDGET, "steps": 4}, out=tmp_path / "run"
        )
    student = limbeck.distill(
        first.model_file,
        "resnet8",
        {"name": "digits", "per_class": 4},
        train=BUDGET,
        weak_teacher=True,  # after three steps
        out=tmp_path / "student",
    )
    assert student.numbers["parameters"] == first.numbers["parameters"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"terms": "wkdl"}, ConfigError, "Did you mean 'wkd_l'"),
        ({"train": {"epoch": 3, "batch_size": 0}}, ConfigError, "has 2 problems"),
        ({"model": "resnet9"}, ConfigError, "Did you mean"),
        ({"teacher": "resnet20"}, ModelError, "has nothing to teach"),
        ({"source": "digit"}, InputError, "digit"),
    ],
)
def test_mistakes_are_explained(tiny, tmp_path, arguments, error, message):
    given = {"teacher": tiny(), "model": "resnet8", "source": "digits", "train": BUDGET, **arguments}
    with pytest.raises(error, match=message):
        limbeck.distill(
            given.pop("teacher"), given.pop("model"), given.pop("source"), **given, out=tmp_path / "run"
        )
    assert not (tmp_path / "run" / "student" / "result.json").exists()


def test_a_module_of_ones_own_needs_no_out_and_comes_back_as_it_was(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, labels = np.zeros((30, 8, 8, 1), dtype=np.uint8), np.arange(30) % 3
    images[np.arange(30), labels, labels] = 200
    teacher, student = tiny(width=6, classes=3), tiny(classes=3)
    teacher.train()
    first = limbeck.distill(teacher, student, (images, labels), train=BUDGET)
    assert first.folder.name == "Tiny-kd-s0"
    assert teacher.training
    assert all(p.requires_grad for p in teacher.parameters())
    again = limbeck.distill(teacher, tiny(classes=3), (images, labels), train=BUDGET)
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True))


def test_a_schedule_longer_than_the_training_does_not_silence_a_term(tmp_path):
    big = limbeck.train("resnet8", {"name": "digits", "per_class": 4}, train=BUDGET, out=tmp_path / "big")
    budget = {"steps": 1, "batch_size": 16}
    small = limbeck.distill(
        big.model,
        "resnet8",
        {"name": "digits", "per_class": 4},
        terms="wkd",
        train=budget,
        weak_teacher=True,
        out=tmp_path / "small",
    )
    assert small.numbers["accuracy"] >= 0
