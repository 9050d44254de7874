"""Numbers about models and their predictions; never differentiated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy
from limbeck.measures._registry import FILES, MEASURES, register

_PUBLIC = FILES

if TYPE_CHECKING:
    from limbeck.measures.accuracy import accuracy, top_k_accuracy
    from limbeck.measures.agreement import agreement, kl_to_teacher
    from limbeck.measures.calibration import expected_calibration_error, negative_log_likelihood
    from limbeck.measures.confusion import confusion_matrix, per_class_accuracy
    from limbeck.measures.cost import flops, parameters

__all__ = [
    "MEASURES",
    "accuracy",
    "agreement",
    "confusion_matrix",
    "expected_calibration_error",
    "flops",
    "kl_to_teacher",
    "negative_log_likelihood",
    "parameters",
    "per_class_accuracy",
    "register",
    "top_k_accuracy",
]

make_lazy(__name__)
