"""Two processes give the losses of one at the same global batch, and measure every image once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from limbeck.runs.folder import StageFolder

SCRIPT = Path(__file__).with_name("two_processes.py")


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(tmp_path):
    for processes in (1, 2):
        (tmp_path / str(processes) / "student").mkdir(parents=True)
        start = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
        start += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
        done = subprocess.run(
            [sys.executable, *start, str(SCRIPT), str(tmp_path / str(processes))],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (
        [line for line in StageFolder(tmp_path / n / "student", "student").read_scalars() if "loss" in line]
        for n in ("1", "2")
    )
    assert [line["step"] for line in one] == [line["step"] for line in two] == [1, 2, 3]
    for alone, shared in zip(one, two, strict=True):
        terms = [key for key in alone if key.startswith("loss")]
        assert len(terms) == 6
        for key in terms:
            assert shared[key] == pytest.approx(alone[key], rel=2e-4), key
    assert json.loads((tmp_path / "1/scores.json").read_text())["images"] == 10
    assert json.loads((tmp_path / "2/scores.json").read_text())["images"] == 10
