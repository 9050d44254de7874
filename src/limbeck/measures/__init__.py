"""Numbers about models and their predictions; never differentiated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy
from limbeck.measures._registry import FILES, MEASURES, register

_PUBLIC = {
    **FILES,
    "CocoScores": "detection.average_precision",
    "DensityCoverage": "manifold",
    "ErrorChange": "detection.errors",
    "Errors": "detection.errors",
    "InceptionFeatures": "inception",
    "InceptionScore": "inception",
    "ModeCoverage": "mode_coverage",
    "Moments": "frechet",
    "PrecisionRecall": "manifold",
    "coco_scores": "detection.average_precision",
    "compare_errors": "detection.errors",
    "errors_by_iou": "detection.errors",
    "inception_features": "inception",
    "moments": "frechet",
    "read_statistics": "reference_statistics",
    "tide_errors": "detection.errors",
    "write_statistics": "reference_statistics",
}

if TYPE_CHECKING:
    from limbeck.measures.accuracy import accuracy, top_k_accuracy
    from limbeck.measures.agreement import agreement, kl_to_teacher
    from limbeck.measures.calibration import expected_calibration_error, negative_log_likelihood
    from limbeck.measures.confusion import confusion_matrix, per_class_accuracy
    from limbeck.measures.cost import flops, parameters
    from limbeck.measures.detection.average_precision import CocoScores, coco_scores
    from limbeck.measures.detection.errors import ErrorChange, Errors, compare_errors, errors_by_iou, tide_errors
    from limbeck.measures.energy_distance import energy_distance
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
    from limbeck.measures.sliced_wasserstein import sliced_wasserstein
    from limbeck.measures.two_sample import nearest_neighbour_accuracy
    from limbeck.measures.wasserstein import wasserstein

__all__ = [
    "MEASURES",
    "CocoScores",
    "DensityCoverage",
    "ErrorChange",
    "Errors",
    "InceptionFeatures",
    "InceptionScore",
    "ModeCoverage",
    "Moments",
    "PrecisionRecall",
    "accuracy",
    "agreement",
    "coco_scores",
    "compare_errors",
    "confusion_matrix",
    "density_coverage",
    "energy_distance",
    "errors_by_iou",
    "expected_calibration_error",
    "fid",
    "flops",
    "frechet_distance",
    "frechet_from_moments",
    "inception_features",
    "inception_score",
    "kl_to_teacher",
    "mmd",
    "mode_coverage",
    "moments",
    "nearest_neighbour_accuracy",
    "negative_log_likelihood",
    "parameters",
    "per_class_accuracy",
    "precision_recall",
    "read_statistics",
    "register",
    "sliced_wasserstein",
    "tide_errors",
    "top_k_accuracy",
    "wasserstein",
    "write_statistics",
]

make_lazy(__name__)
