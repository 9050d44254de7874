"""Runs that are stopped, killed or damaged go on to the same bits."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LOSS = '''\
"""Cross-entropy that stands still at its fourth batch until a file named "go" is there."""

import time
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from limbeck.losses import register

CALLS = [0]


@register
def patient(student: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in its own time."""
    CALLS[0] += 1
    while CALLS[0] >= 4 and not Path("go").exists():
        Path("waiting").touch()
        time.sleep(0.02)
    return F.cross_entropy(student, labels, reduction="none")
'''
RECIPE = """\
stages:
  student:
    kind: classify.distill
    teacher: teacher.safetensors
    weak_teacher: true
    source: {name: digits, per_class: 4}
    model: {name: resnet8}
    terms: [{loss: patient}]
    train: {epochs: 3, batch_size: 20, evaluate_every: 3, checkpoint_every: 1}
"""
WORDS = ("run", "my.yaml", "--plugin", "patient.py", "--device", "cpu", "--quiet")


@pytest.fixture
def place(cli, finished, tmp_path):
    shutil.copy(finished / "teacher/model.safetensors", tmp_path / "teacher.safetensors")
    (tmp_path / "patient.py").write_text(LOSS)
    (tmp_path / "my.yaml").write_text(RECIPE)
    return tmp_path


def standing_still(place: Path) -> subprocess.Popen[str]:
    """A run of its own that waits in the second epoch."""
    process = subprocess.Popen(
        [sys.executable, "-m", "limbeck", *WORDS, "--out", "run"],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while not (place / "waiting").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process


def again(cli, out: str):
    """Run it in this process, as if in a new one: the plugin is not known yet."""
    from limbeck.losses._registry import LOSSES

    LOSSES._registered.pop("patient", None)
    return cli(*WORDS, "--out", out)


def weights(folder: Path) -> dict[str, object]:
    from safetensors.torch import load_file

    return {name: value.tolist() for name, value in load_file(folder / "student/model.safetensors").items()}


def uninterrupted(place: Path, cli) -> dict[str, object]:
    done = again(cli, "whole")
    assert done.code == 0, done.err
    return weights(place / "whole")


def kinds(folder: Path) -> list[str]:
    from limbeck.runs import RunFolder

    return [event["kind"] for event in RunFolder.open(folder).events()]


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bits(place, cli):
    process = standing_still(place)
    process.kill()
    process.communicate()
    assert (place / "run/student/checkpoints/last.ckpt").exists()
    (place / "go").touch()
    done = again(cli, "run")
    assert done.code == 0, done.err
    assert kinds(place / "run") == ["started", "resumed", "finished"]
    assert weights(place / "run") == uninterrupted(place, cli)


@pytest.mark.slow
def test_a_run_that_is_asked_to_stop_saves_says_so_and_goes_on_to_the_same_bits(place, cli):
    process = standing_still(place)
    process.send_signal(signal.SIGTERM)
    (place / "go").touch()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75, err
    assert "same command" in err
    assert "Traceback" not in err
    done = again(cli, "run")
    assert done.code == 0, done.err
    assert kinds(place / "run") == ["started", "interrupted", "resumed", "finished"]
    assert weights(place / "run") == uninterrupted(place, cli)


def test_a_damaged_checkpoint_falls_back_to_the_one_before_with_a_warning(place, cli, caplog):
    (place / "go").touch()
    assert cli(*WORDS, "--out", "run").code == 0
    (place / "run/student/result.json").unlink()  # as if it had died before the end
    folder = place / "run/student/checkpoints"
    (folder / "last.ckpt").write_bytes((folder / "last.ckpt").read_bytes()[:1000])
    done = again(cli, "run")
    assert done.code == 0, done.err
    assert "damaged" in caplog.text
    assert "Going on from previous.ckpt" in caplog.text
    assert weights(place / "run") == uninterrupted(place, cli)


def test_checkpoints_that_are_all_damaged_are_said_so_and_not_trained_over(place, cli):
    (place / "go").touch()
    assert cli(*WORDS, "--out", "run").code == 0
    (place / "run/student/result.json").unlink()
    for file in (place / "run/student/checkpoints").iterdir():
        file.write_bytes(file.read_bytes()[:1000])
    done = again(cli, "run")
    assert done.code == 2, done.err
    assert "damaged" in done.err
    assert "--fresh" in done.err
