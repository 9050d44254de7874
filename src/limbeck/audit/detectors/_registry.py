"""Questions about detectors by name. A leaf: no question is imported here."""

from __future__ import annotations

from limbeck.registry import Registry

FILES = {
    "found_alike": "found_alike",
    "errors": "errors",
    "boxes": "boxes",
    "false_alarms": "false_alarms",
    "localisation": "localisation",
    "average_precision": "average_precision",
}
"""Name of a question -> file of this package that defines it."""

DETECTOR_QUESTIONS = Registry(
    "detector question", {name: f"limbeck.audit.detectors.{file}" for name, file in FILES.items()}
)
register = DETECTOR_QUESTIONS.register
