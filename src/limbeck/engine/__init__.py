"""The one loop that runs any task: devices, precision, checkpoints, records. Knows no loss and no model."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "Checkpoints": "checkpoint",
    "FitResult": "fit",
    "Machine": "machine",
    "evaluate": "evaluate",
    "fit": "fit",
}

__all__ = ["Checkpoints", "FitResult", "Machine", "evaluate", "fit"]

if TYPE_CHECKING:
    from limbeck.engine.checkpoint import Checkpoints
    from limbeck.engine.evaluate import evaluate
    from limbeck.engine.fit import FitResult, fit
    from limbeck.engine.machine import Machine


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"limbeck.engine.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'limbeck.engine' has no attribute '{name}'")
