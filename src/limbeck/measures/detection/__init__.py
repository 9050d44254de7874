"""Numbers about boxes that were found: COCO's scores, and which kinds of error cost how much of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy

_PUBLIC = {
    "CocoScores": "average_precision",
    "ErrorChange": "errors",
    "Errors": "errors",
    "coco_scores": "average_precision",
    "compare_errors": "errors",
    "errors_by_iou": "errors",
    "tide_errors": "errors",
}

if TYPE_CHECKING:
    from limbeck.measures.detection.average_precision import CocoScores, coco_scores
    from limbeck.measures.detection.errors import ErrorChange, Errors, compare_errors, errors_by_iou, tide_errors

__all__ = [
    "CocoScores",
    "ErrorChange",
    "Errors",
    "coco_scores",
    "compare_errors",
    "errors_by_iou",
    "tide_errors",
]

make_lazy(__name__)
