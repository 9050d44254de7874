"""Detectors by name, their file, their boxes, and what happens inside of one in a step of training.

A detector is a plain `SSD`, `RetinaNet`, `FCOS` or `FasterRCNN` of torchvision, whoever built it. Labels are
0..C-1 everywhere outside; torchvision's own count, with the background at 0, stays in this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy
from limbeck.models._registry import DETECTORS

_PUBLIC = {
    "Dense": "seen",
    "Positives": "seen",
    "Proposals": "seen",
    "Seen": "seen",
    "Watch": "watching",
    "build_detector": "building",
    "head_rest": "head_rest",
    "load": "artefact",
    "predict": "predicting",
    "rois": "rois",
    "save": "artefact",
}

if TYPE_CHECKING:
    from limbeck.models.detectors.artefact import load, save
    from limbeck.models.detectors.building import build_detector
    from limbeck.models.detectors.head_rest import head_rest
    from limbeck.models.detectors.predicting import predict
    from limbeck.models.detectors.rois import rois
    from limbeck.models.detectors.seen import Dense, Positives, Proposals, Seen
    from limbeck.models.detectors.watching import Watch

__all__ = [
    "DETECTORS",
    "Dense",
    "Positives",
    "Proposals",
    "Seen",
    "Watch",
    "build_detector",
    "head_rest",
    "load",
    "predict",
    "rois",
    "save",
]

make_lazy(__name__)
