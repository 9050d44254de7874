"""The audit of detectors: which objects they find alike, which errors they share and where they look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.audit.detectors._registry import DETECTOR_QUESTIONS, FILES
from limbeck.lazy import make_lazy

_PUBLIC = {
    **FILES,
    "DetectorExamination": "examination",
    "DetectorPanel": "subjects",
    "DetectorSubject": "subjects",
    "ask_detectors": "asking",
}

if TYPE_CHECKING:
    from limbeck.audit.detectors.asking import ask_detectors
    from limbeck.audit.detectors.average_precision import average_precision
    from limbeck.audit.detectors.boxes import boxes
    from limbeck.audit.detectors.errors import errors
    from limbeck.audit.detectors.examination import DetectorExamination
    from limbeck.audit.detectors.false_alarms import false_alarms
    from limbeck.audit.detectors.found_alike import found_alike
    from limbeck.audit.detectors.localisation import localisation
    from limbeck.audit.detectors.subjects import DetectorPanel, DetectorSubject

__all__ = [
    "DETECTOR_QUESTIONS",
    "DetectorExamination",
    "DetectorPanel",
    "DetectorSubject",
    "ask_detectors",
    "average_precision",
    "boxes",
    "errors",
    "false_alarms",
    "found_alike",
    "localisation",
]

make_lazy(__name__)
