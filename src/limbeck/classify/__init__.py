"""Classifiers teach classifiers: tasks, projectors, class costs and stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy

_PUBLIC = {
    "BoundTerm": "task",
    "ClassifyTask": "task",
    "Distilled": "api",
    "METHODS": "methods",
    "distill": "api",
    "train": "api",
}

if TYPE_CHECKING:
    from limbeck.classify.api import Distilled, distill, train
    from limbeck.classify.methods import METHODS
    from limbeck.classify.task import BoundTerm, ClassifyTask

__all__ = ["METHODS", "BoundTerm", "ClassifyTask", "Distilled", "distill", "train"]

make_lazy(__name__)
