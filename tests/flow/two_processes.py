"""What `test_processes.py` starts, as one process or as two: pairs of a flow, and a student of them."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from limbeck.flow.config import DistillStage, PairsStage
from limbeck.flow.stages.distill import run_distill
from limbeck.flow.stages.pairs import run_pairs
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder


def main(out: Path, flow: Path) -> None:
    torch.set_num_threads(1)
    context = StageContext(seed=0, inputs={"flow": flow, "pairs": out / "pairs"}, device="cpu")
    pairs = PairsStage(teacher="flow", count=50, shard_size=10, evaluations=3)
    run_pairs(pairs, StageFolder(out / "pairs", "pairs"), context)
    train = {"steps": 6, "batch_size": 20, "ema": [], "log_every": 1}
    student = DistillStage.model_validate({"teacher": "flow", "pairs": "pairs", "train": train})
    run_distill(student, StageFolder(out / "student", "student"), context)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
