"""The one loop that runs any task: devices, precision, checkpoints, records. Knows no loss and no model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy

_PUBLIC = {
    "Checkpoints": "checkpoint",
    "Evaluation": "evaluate",
    "FitResult": "fit",
    "Machine": "machine",
    "evaluate": "evaluate",
    "fit": "fit",
    "guesses": "evaluate",
}

if TYPE_CHECKING:
    from limbeck.engine.checkpoint import Checkpoints
    from limbeck.engine.evaluate import Evaluation, evaluate, guesses
    from limbeck.engine.fit import FitResult, fit
    from limbeck.engine.machine import Machine

__all__ = ["Checkpoints", "Evaluation", "FitResult", "Machine", "evaluate", "fit", "guesses"]

make_lazy(__name__)
