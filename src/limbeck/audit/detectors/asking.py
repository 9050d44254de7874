"""All questions about detectors, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from limbeck.audit.detectors._registry import DETECTOR_QUESTIONS, FILES
from limbeck.audit.detectors.examination import DetectorExamination
from limbeck.audit.evidence import Answer


def ask_detectors(
    exam: DetectorExamination, questions: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Answer]:
    """Ask.

    Args:
        exam: the sitting.
        questions: name -> settings; all with their own defaults unless given.

    Returns:
        Name -> answer, in the order asked.

    Raises:
        UnknownNameError: a question of another name.
    """
    asked: Mapping[str, Mapping[str, Any]] = {name: {} for name in FILES} if questions is None else questions
    found = {}
    for name, settings in asked.items():
        exam.note(name)
        found[name] = DETECTOR_QUESTIONS[name](exam, **settings)
    return found
