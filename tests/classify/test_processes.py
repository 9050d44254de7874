"""Every published method on two processes gives the losses of one process at the same global batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from limbeck.classify.methods import METHODS
from limbeck.runs.folder import StageFolder

SCRIPT = Path(__file__).with_name("two_processes.py")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    found = {}
    for processes in (1, 2):
        out = tmp_path_factory.mktemp(f"processes{processes}")
        start = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
        start += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
        done = subprocess.run(
            [sys.executable, *start, str(SCRIPT), str(out)],
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
            env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found[processes] = out
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_give_the_losses_of_one(runs, method):
    one, two = (StageFolder(runs[n] / method, method).read_scalars() for n in (1, 2))
    assert [set(line) for line in one] == [set(line) for line in two]
    assert len([line for line in one if "loss" in line]) == 3
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=2e-4, abs=1e-6)
    sums = [json.loads((runs[n] / "weights.json").read_text())[method] for n in (1, 2)]
    assert sums[0] == pytest.approx(sums[1], rel=1e-5)
