"""Optimizers and learning-rate schedules by name."""

from __future__ import annotations

from limbeck.registry import Registry

OPTIMIZERS = Registry("optimizer", {"sgd": "limbeck.engine.optimizers", "adamw": "limbeck.engine.optimizers"})
SCHEDULES = Registry(
    "schedule",
    {
        "constant": "limbeck.engine.schedules",
        "cosine": "limbeck.engine.schedules",
        "multi_step": "limbeck.engine.schedules",
        "one_cycle": "limbeck.engine.schedules",
    },
)
