"""What `test_processes.py` starts, as one process or as two: every published method for a few steps on digits."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from limbeck.classify.config import Objective, Training
from limbeck.classify.data import split_data
from limbeck.classify.fitting import fit_classifier
from limbeck.classify.methods import METHODS
from limbeck.classify.stages import as_teacher
from limbeck.classify.teaching import Teaching
from limbeck.engine import Machine
from limbeck.models import build
from limbeck.runs.folder import StageFolder
from limbeck.seeding import seed_everything
from limbeck.sources import build as build_source

TRAINING = Training.model_validate(
    {
        "steps": 3,
        "batch_size": 16,
        "optimizer": {"name": "sgd", "lr": 0.01},
        "sync_batchnorm": True,
        "log_every": 1,
        "augment": ["flip"],
    }
)


def main(out: Path) -> None:
    torch.set_num_threads(1)
    machine = Machine(device="cpu")
    digits = split_data(
        build_source("digits", split="train", per_class=5),
        build_source("digits", split="test", limit=20),
        validation=0.0,
        seed=0,
    )
    seed_everything(1, "teacher")
    teacher = as_teacher(build("resnet14", num_classes=10, in_channels=1), digits, machine)
    found = {}
    for name in METHODS:
        folder = StageFolder(out / name, name)
        if machine.main:
            folder.begin({"method": name})
        machine.wait()
        seed_everything(2, "student")
        fitted = fit_classifier(
            build("resnet8", num_classes=10, in_channels=1),
            Objective.model_validate(name),
            data=digits,
            training=TRAINING,
            machine=Machine(device="cpu"),
            records=folder,
            seed=3,
            teaching=Teaching({"teacher": teacher}),
        )
        found[name] = sum(float(p.double().square().sum()) for p in fitted.model.parameters())
    if machine.main:
        (out / "weights.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
