"""Classifiers teach classifiers: tasks, projectors, class costs and stages."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "ClassifyTask": "task",
    "Distilled": "api",
    "METHODS": "methods",
    "distill": "api",
    "train": "api",
}

__all__ = ["METHODS", "ClassifyTask", "Distilled", "distill", "train"]

if TYPE_CHECKING:
    from limbeck.classify.api import Distilled, distill, train
    from limbeck.classify.methods import METHODS
    from limbeck.classify.task import ClassifyTask


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"limbeck.classify.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'limbeck.classify' has no attribute '{name}'")
