"""Two processes share the shards of a store and give the very bytes of one; a student trains in both."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from limbeck.flow import artefact
from limbeck.flow.velocity import Flow
from limbeck.models.velocity import build_velocity_network
from limbeck.runs.folder import StageFolder

SCRIPT = Path(__file__).with_name("two_processes.py")


@pytest.mark.slow
def test_two_processes_make_the_pairs_of_one(tmp_path):
    torch.manual_seed(0)
    flow = Flow(build_velocity_network("mlp", image_shape=(1, 4, 4), width=8), image_shape=(1, 4, 4), rounds=0)
    artefact.save(flow, tmp_path / "model.safetensors")
    for processes in (1, 2):
        (tmp_path / str(processes)).mkdir()
        start = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
        start += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
        done = subprocess.run(
            [sys.executable, *start, str(SCRIPT), str(tmp_path / str(processes)), str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr[-3000:]
    files = sorted(path.name for path in (tmp_path / "1/pairs/pairs").iterdir())
    assert len(files) == 6
    for name in files:
        assert (tmp_path / "1/pairs/pairs" / name).read_bytes() == (tmp_path / "2/pairs/pairs" / name).read_bytes()
    for processes in ("1", "2"):
        student = StageFolder(tmp_path / processes / "student", "student")
        assert [line["step"] for line in student.read_scalars() if "loss" in line] == [1, 2, 3, 4, 5, 6]
        assert student.result()["numbers"]["passes"]["value"] == 120
