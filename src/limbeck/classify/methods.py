"""The published objectives as recipes write them: what `terms: kd` stands for.

Weights and temperatures are those of the authors' CIFAR-100 settings, for the pair ResNet-32x4 to ResNet-8x4 where
they depend on the pair. For other data they are where a search starts, not where it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CROSS_ENTROPY: Mapping[str, Any] = {"loss": {"name": "cross_entropy"}}
_LIGHT_CROSS_ENTROPY: Mapping[str, Any] = {"loss": {"name": "cross_entropy"}, "weight": 0.1}
_WKD_TARGET: Mapping[str, Any] = {"loss": {"name": "wkd_target"}}
_WKD_DECAY: Mapping[str, Any] = {"start": 0.625}
_WARMUP: Mapping[str, Any] = {"epochs": 20}
_STRONG: Mapping[str, Any] = {
    "strong": ({"name": "crop"}, {"name": "flip"}, {"name": "rand_augment", "num_ops": 2, "magnitude": 10})
}


def _beside_labels(*terms: Mapping[str, Any]) -> dict[str, Any]:
    return {"terms": (_CROSS_ENTROPY, *terms)}


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


def _dkd(alpha: float, beta: float, temperature: float) -> dict[str, Any]:
    return {
        "loss": {"name": "dkd", "alpha": alpha, "beta": beta, "temperature": temperature},
        "warmup": _WARMUP,
    }


def _mld(logits: str) -> dict[str, Any]:
    terms: list[Mapping[str, Any]] = []
    for view in ("images", "strong"):
        terms.append({**_LIGHT_CROSS_ENTROPY, "view": view})
        terms.append({"loss": {"name": "mld"}, "weight": 0.9, "view": view, "logits": logits})
    return {"terms": tuple(terms), "views": _STRONG}


def _feature(name: str, weight: float | tuple[float, ...], **rest: Any) -> dict[str, Any]:
    return {"loss": {"name": name}, "weight": weight, **rest}


_PLAIN_KD = {"loss": {"name": "kd", "temperature": 4.0}}
_ICKD = _feature("ickd", 2.5, projector={"name": "connector"})

METHODS: Mapping[str, Mapping[str, Any]] = {
    "control": _beside_labels(),
    # logits
    "kd": {"terms": (_LIGHT_CROSS_ENTROPY, {**_PLAIN_KD, "weight": 0.9})},
    "dkd": _beside_labels(_dkd(1.0, 8.0, 4.0)),
    "nkd": _beside_labels({"loss": {"name": "nkd", "gamma": 1.5, "temperature": 1.0}}),
    "dist": _beside_labels({"loss": {"name": "dist", "temperature": 4.0}, "weight": 2.0}),
    "kd_ls": {
        "terms": (
            _LIGHT_CROSS_ENTROPY,
            {"loss": {"name": "kd", "temperature": 2.0}, "weight": 9.0, "logits": "standardised"},
        )
    },
    "dkd_ls": _beside_labels({**_dkd(9.0, 72.0, 2.0), "logits": "standardised"}),
    "mld": _mld("raw"),
    "mld_ls": _mld("standardised"),
    "wkd_l": _beside_labels(_WKD_TARGET, _transport(600.0)),
    # feature maps
    "hint": _beside_labels(_feature("hint", 100.0, projector={"name": "conv"})),
    "at": _beside_labels(_feature("at", 1000.0, taps="@stages")),
    "nst": _beside_labels(_feature("nst", 50.0, taps="@stages")),
    "sp": _beside_labels(_feature("sp", 3000.0)),
    "vid": _beside_labels(_feature("vid", 1.0, taps="@stages")),
    "ofd": _beside_labels(
        _feature(
            "ofd",
            # halved from stage to stage towards the input
            (0.25e-3, 0.5e-3, 1e-3),
            taps="@preactivations",
            projector={"name": "connector", "init": "fan_out"},
        )
    ),
    "reviewkd": _beside_labels(
        _feature(
            "reviewkd",
            5.0,
            taps={"student": ("@stages", "@pooled"), "teacher": ("@preactivations", "@pooled")},
            warmup=_WARMUP,
        )
    ),
    "ickd": _beside_labels(_ICKD),
    "ickd_kd": _beside_labels(_PLAIN_KD, _ICKD),
    "simkd": {
        "terms": (_feature("simkd", 1.0, taps={"student": "transfer", "teacher": "@last"}),),
        "head": {"factor": 2},
    },
    "wkd_f": _beside_labels(_wkd_feature(0.08, 4.0)),
    # feature vectors
    "rkd": _beside_labels(_feature("rkd", 1.0)),
    "pkt": _beside_labels(_feature("pkt", 30000.0)),
    "cc": _beside_labels(_feature("cc", 0.02)),
    "crd": _beside_labels(_feature("crd", 0.8)),
    "pefd": _beside_labels(_feature("direction_alignment", 25.0, projector={"name": "ensemble"})),
    # both
    "wkd": _beside_labels(_WKD_TARGET, _transport(200.0), _wkd_feature(0.08, 8.0)),
}
"""Method name -> terms, and the views and the head that belong to it, in the notation of a recipe."""
