"""Measures by name. A leaf: no measure is imported here."""

from __future__ import annotations

from limbeck.registry import Registry

FILES = {
    "accuracy": "accuracy",
    "top_k_accuracy": "accuracy",
    "confusion_matrix": "confusion",
    "per_class_accuracy": "confusion",
    "agreement": "agreement",
    "kl_to_teacher": "agreement",
    "negative_log_likelihood": "calibration",
    "expected_calibration_error": "calibration",
    "parameters": "cost",
    "flops": "cost",
}
"""Name of a measure -> file of this package that defines it."""

MEASURES = Registry("measure", {name: f"limbeck.measures.{file}" for name, file in FILES.items()})
register = MEASURES.register
