"""Two processes give the numbers of one at the same global batch, and share one run folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from limbeck.runs.folder import RunFolder, StageFolder

SCRIPT = Path(__file__).with_name("two_processes.py")
RECIPE = """\
title: Two processes
stages:
  teacher:
    kind: classify.train
    source: {name: digits, per_class: 8}
    model: resnet8
    train: {steps: 2, batch_size: 20}
  students:
    kind: classify.compare
    teacher: teacher
    weak_teacher: true
    source: {name: digits, per_class: 8}
    model: resnet8
    methods: {wkd: wkd}
    seeds: [0]
    train: {steps: 2, batch_size: 20}
"""


def launch(processes: int, *command: str, cwd: Path) -> None:
    start = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
    start += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    done = subprocess.run(
        [sys.executable, *start, *command],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(tmp_path):
    found = {}
    for processes in (1, 2):
        out = tmp_path / str(processes)
        out.mkdir()
        launch(processes, str(SCRIPT), str(out), cwd=tmp_path)
        weights = torch.load(out / "weights.pt", weights_only=True)
        found[processes] = weights, StageFolder(out / "stage", "stage").read_scalars()
    for name, value in found[1][0].items():
        assert torch.allclose(value, found[2][0][name], atol=1e-5), name
    assert len(found[1][1]) == len(found[2][1]) == 18
    for one, two in zip(found[1][1], found[2][1], strict=True):
        assert one == pytest.approx(two, abs=1e-5)


@pytest.mark.slow
def test_two_processes_share_one_run_folder(tmp_path):
    (tmp_path / "two.yaml").write_text(RECIPE)
    launch(2, "-m", "limbeck", "run", "two.yaml", "--out", "run", "--device", "cpu", "--quiet", cwd=tmp_path)
    run = RunFolder.open(tmp_path / "run")
    assert [stage.finished for stage in run.stages()] == [True, True]
    assert [event["kind"] for event in run.events()] == ["started", "finished"] * 2
    rows = run.stage("students").tables()["comparison"]["rows"]
    assert [row["method"] for row in rows] == ["teacher", "control", "wkd"]
    assert sum(row["images"] for row in run.stage("teacher").tables()["classes"]["rows"]) == 500
