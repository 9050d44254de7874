"""The published objectives as lists of terms: what `terms: kd` in a recipe stands for.

Weights and temperatures are those of the authors' CIFAR-100 settings (ResNet-32x4 teaches ResNet-8x4). For other
data they are where a search starts, not where it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CROSS_ENTROPY: Mapping[str, Any] = {"loss": {"name": "cross_entropy"}}
_WKD_TARGET: Mapping[str, Any] = {"loss": {"name": "wkd_target"}}
_WKD_DECAY: Mapping[str, Any] = {"start": 0.625}


def _transport(weight: float) -> dict[str, Any]:
    return {
        "loss": {"name": "wkd_transport", "temperature": 8.0},
        "weight": weight,
        "cost": {"name": "prototypes"},
        "decay": _WKD_DECAY,
    }


def _wkd_feature(weight: float, mean_weight: float) -> dict[str, Any]:
    return {
        "loss": {"name": "wkd_feature", "mean_weight": mean_weight},
        "weight": weight,
        "projector": {"name": "conv"},
        "decay": _WKD_DECAY,
    }


METHODS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "control": (_CROSS_ENTROPY,),
    "kd": (
        {"loss": {"name": "cross_entropy"}, "weight": 0.1},
        {"loss": {"name": "kd", "temperature": 4.0}, "weight": 0.9},
    ),
    "hint": (_CROSS_ENTROPY, {"loss": {"name": "hint"}, "weight": 100.0, "projector": {"name": "conv"}}),
    "pefd": (
        _CROSS_ENTROPY,
        {"loss": {"name": "direction_alignment"}, "weight": 25.0, "projector": {"name": "ensemble"}},
    ),
    "wkd_l": (_CROSS_ENTROPY, _WKD_TARGET, _transport(600.0)),
    "wkd_f": (_CROSS_ENTROPY, _wkd_feature(0.08, 4.0)),
    "wkd": (_CROSS_ENTROPY, _WKD_TARGET, _transport(200.0), _wkd_feature(0.08, 8.0)),
}
"""Method name -> terms, in the notation of a recipe."""
