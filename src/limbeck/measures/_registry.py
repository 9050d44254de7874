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
    "top_k_overlap": "fidelity",
    "js_divergence": "fidelity",
    "total_variation": "fidelity",
    "rank_correlation": "fidelity",
    "cohen_kappa": "fidelity",
    "error_consistency": "fidelity",
    "same_mistake_rate": "fidelity",
    "maximum_calibration_error": "calibration",
    "brier_score": "calibration",
    "reliability": "calibration",
    "fit_temperature": "calibration",
    "shape_bias": "shape_bias",
    "linear_cka": "cka",
    "linear_cka_unbiased": "cka",
    "rbf_cka": "cka",
    "rbf_cka_unbiased": "cka",
    "hsic_unbiased": "cka",
    "cka_map": "cka_map",
    "procrustes_distance": "representations",
    "rsa": "representations",
    "mutual_knn": "representations",
    "same_regions": "boundaries",
    "class_changes": "boundaries",
    "margins": "boundaries",
    "margin_correlation": "boundaries",
    "loss_barrier": "barrier",
}
"""Name of a measure -> file of this package that defines it."""

MEASURES = Registry("measure", {name: f"limbeck.measures.{file}" for name, file in FILES.items()})
register = MEASURES.register
