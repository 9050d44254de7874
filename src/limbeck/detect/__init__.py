"""Detectors taught by classifiers of their objects and by larger detectors.

Boxes are x1, y1, x2, y2 in pixels, labels 0..C-1 in the order of `class_names`, images RGB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy

_PUBLIC = {
    "ClassifierTeacher": "classifier",
    "Distilled": "api",
    "Judge": "scoring",
    "Lesson": "lesson",
    "Scores": "scoring",
    "Teachers": "lesson",
    "distill": "api",
    "evaluate": "api",
    "label_objects": "labels",
    "train": "api",
}

if TYPE_CHECKING:
    from limbeck.detect.api import Distilled, distill, evaluate, train
    from limbeck.detect.classifier import ClassifierTeacher
    from limbeck.detect.labels import label_objects
    from limbeck.detect.lesson import Lesson, Teachers
    from limbeck.detect.scoring import Judge, Scores

__all__ = [
    "ClassifierTeacher",
    "Distilled",
    "Judge",
    "Lesson",
    "Scores",
    "Teachers",
    "distill",
    "evaluate",
    "label_objects",
    "train",
]

make_lazy(__name__)
