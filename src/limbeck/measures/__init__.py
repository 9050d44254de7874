"""Numbers about models and their predictions; never differentiated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy
from limbeck.measures._registry import FILES, MEASURES, register

_PUBLIC = {
    **FILES,
    "Barrier": "barrier",
    "CkaMap": "cka_map",
    "CocoScores": "detection.average_precision",
    "DensityCoverage": "manifold",
    "ErrorChange": "detection.errors",
    "Errors": "detection.errors",
    "InceptionFeatures": "inception",
    "InceptionScore": "inception",
    "ModeCoverage": "mode_coverage",
    "Moments": "frechet",
    "Plane": "boundaries",
    "PrecisionRecall": "manifold",
    "Reliability": "calibration",
    "ShapeBias": "shape_bias",
    "coarse_probabilities": "shape_bias",
    "coco_scores": "detection.average_precision",
    "compare_errors": "detection.errors",
    "errors_by_iou": "detection.errors",
    "inception_features": "inception",
    "mean_cross_entropy": "barrier",
    "moments": "frechet",
    "mutual_knn_chance": "representations",
    "plane_through": "boundaries",
    "predictions_on": "boundaries",
    "read_statistics": "reference_statistics",
    "shape_decisions": "shape_bias",
    "tide_errors": "detection.errors",
    "write_statistics": "reference_statistics",
}

if TYPE_CHECKING:
    from limbeck.measures.accuracy import accuracy, top_k_accuracy
    from limbeck.measures.agreement import agreement, kl_to_teacher
    from limbeck.measures.barrier import Barrier, loss_barrier, mean_cross_entropy
    from limbeck.measures.boundaries import (
        Plane,
        class_changes,
        margin_correlation,
        margins,
        plane_through,
        predictions_on,
        same_regions,
    )
    from limbeck.measures.calibration import (
        Reliability,
        brier_score,
        expected_calibration_error,
        fit_temperature,
        maximum_calibration_error,
        negative_log_likelihood,
        reliability,
    )
    from limbeck.measures.cka import hsic_unbiased, linear_cka, linear_cka_unbiased, rbf_cka, rbf_cka_unbiased
    from limbeck.measures.cka_map import CkaMap, cka_map
    from limbeck.measures.confusion import confusion_matrix, per_class_accuracy
    from limbeck.measures.cost import flops, parameters
    from limbeck.measures.detection.average_precision import CocoScores, coco_scores
    from limbeck.measures.detection.errors import ErrorChange, Errors, compare_errors, errors_by_iou, tide_errors
    from limbeck.measures.energy_distance import energy_distance
    from limbeck.measures.fidelity import (
        cohen_kappa,
        error_consistency,
        js_divergence,
        rank_correlation,
        same_mistake_rate,
        top_k_overlap,
        total_variation,
    )
    from limbeck.measures.frechet import Moments, frechet_distance, frechet_from_moments, moments
    from limbeck.measures.inception import (
        InceptionFeatures,
        InceptionScore,
        fid,
        inception_features,
        inception_score,
    )
    from limbeck.measures.manifold import DensityCoverage, PrecisionRecall, density_coverage, precision_recall
    from limbeck.measures.mmd import mmd
    from limbeck.measures.mode_coverage import ModeCoverage, mode_coverage
    from limbeck.measures.reference_statistics import read_statistics, write_statistics
    from limbeck.measures.representations import mutual_knn, mutual_knn_chance, procrustes_distance, rsa
    from limbeck.measures.shape_bias import ShapeBias, coarse_probabilities, shape_bias, shape_decisions
    from limbeck.measures.sliced_wasserstein import sliced_wasserstein
    from limbeck.measures.two_sample import nearest_neighbour_accuracy
    from limbeck.measures.wasserstein import wasserstein

__all__ = [
    "MEASURES",
    "Barrier",
    "CkaMap",
    "CocoScores",
    "DensityCoverage",
    "ErrorChange",
    "Errors",
    "InceptionFeatures",
    "InceptionScore",
    "ModeCoverage",
    "Moments",
    "Plane",
    "PrecisionRecall",
    "Reliability",
    "ShapeBias",
    "accuracy",
    "agreement",
    "brier_score",
    "cka_map",
    "class_changes",
    "coarse_probabilities",
    "coco_scores",
    "cohen_kappa",
    "compare_errors",
    "confusion_matrix",
    "density_coverage",
    "energy_distance",
    "error_consistency",
    "errors_by_iou",
    "expected_calibration_error",
    "fid",
    "fit_temperature",
    "flops",
    "frechet_distance",
    "frechet_from_moments",
    "hsic_unbiased",
    "inception_features",
    "inception_score",
    "js_divergence",
    "kl_to_teacher",
    "linear_cka",
    "linear_cka_unbiased",
    "loss_barrier",
    "margin_correlation",
    "margins",
    "maximum_calibration_error",
    "mean_cross_entropy",
    "mmd",
    "mode_coverage",
    "moments",
    "mutual_knn",
    "mutual_knn_chance",
    "nearest_neighbour_accuracy",
    "negative_log_likelihood",
    "parameters",
    "per_class_accuracy",
    "plane_through",
    "precision_recall",
    "predictions_on",
    "procrustes_distance",
    "rank_correlation",
    "rbf_cka",
    "rbf_cka_unbiased",
    "read_statistics",
    "register",
    "reliability",
    "rsa",
    "same_mistake_rate",
    "same_regions",
    "shape_bias",
    "shape_decisions",
    "sliced_wasserstein",
    "tide_errors",
    "top_k_accuracy",
    "top_k_overlap",
    "total_variation",
    "wasserstein",
    "write_statistics",
]

make_lazy(__name__)
