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
    "sliced_wasserstein": "sliced_wasserstein",
    "energy_distance": "energy_distance",
    "mmd": "mmd",
    "frechet_distance": "frechet",
    "frechet_from_moments": "frechet",
    "precision_recall": "manifold",
    "density_coverage": "manifold",
    "nearest_neighbour_accuracy": "two_sample",
    "wasserstein": "wasserstein",
    "mode_coverage": "mode_coverage",
    "fid": "inception",
    "inception_score": "inception",
}
"""Name of a measure -> file of this package that defines it."""

MEASURES = Registry("measure", {name: f"limbeck.measures.{file}" for name, file in FILES.items()})
register = MEASURES.register
