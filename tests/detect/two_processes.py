"""What `test_processes.py` starts, as one process or as two: a RetinaNet taught by a classifier."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from limbeck.detect.classifier import ClassifierTeacher
from limbeck.detect.config import DetectTraining, Scoring, Teaching, Term
from limbeck.detect.fitting import fit_detector
from limbeck.detect.lesson import Teachers
from limbeck.detect.scoring import Judge
from limbeck.engine import Machine
from limbeck.models import DataConfig, build
from limbeck.models.detectors import build_detector
from limbeck.runs.folder import StageFolder
from limbeck.sources.detection.building import build_detection

TERMS = (
    {"loss": "kd_cls", "weight": 0.4},
    {"loss": "kd_loc_pixels", "weight": 0.15},
    {"loss": "kd_loc_features", "weight": 1.0},
)


def main(out: Path) -> None:
    torch.set_num_threads(1)
    machine = Machine(device="cpu")
    train, test = (build_detection("digit_scenes", split=split, count=10, size=64) for split in ("train", "test"))
    names = train.class_names
    torch.manual_seed(0)
    student = build_detector(
        "retinanet",
        num_classes=len(names),
        backbone="timm/mobilenetv3_small_050",
        frozen_norms=True,
        fpn_channels=16,
        size=(64, 64),
    )
    classifier = build("resnet8", num_classes=len(names), in_channels=3)
    facts = DataConfig((3, 16, 16), (0.5,) * 3, (0.2,) * 3, tuple(names))
    teachers = Teachers(ClassifierTeacher(classifier, facts, names), teaching=Teaching(max_positives=None))
    fitted = fit_detector(
        student,
        [Term.model_validate(term) for term in TERMS],
        source=train,
        training=DetectTraining.model_validate({"steps": 3, "batch_size": 4, "log_every": 1, "clip_norm": None}),
        machine=machine,
        records=StageFolder(out / "student", "student"),
        seed=0,
        judge=Judge(test, Scoring(), machine),
        teachers=teachers,
    )
    if machine.main:
        found = {name: number["value"] for name, number in fitted.scores.numbers().items()}
        (out / "scores.json").write_text(json.dumps({"images": len(fitted.scores.predictions), **found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
