"""All questions about a panel, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.audit.config import STANDARD
from limbeck.audit.evidence import Answer
from limbeck.audit.examination import Examination
from limbeck.audit.questions._registry import NEEDS_GRADIENTS, QUESTIONS
from limbeck.engine.progress import doing
from limbeck.errors import ConfigError, InputError
from limbeck.specs import Spec


def ask(
    exam: Examination, questions: Sequence[Spec], *, progress: bool = False
) -> tuple[dict[str, Answer], dict[str, str]]:
    """Every question in turn.

    Args:
        exam: networks and images.
        questions: with their settings.
        progress: say on the terminal which one is under way.

    Returns:
        Answers by name, and for each question that was left out the reason.

    Raises:
        InputError: a question that was asked for by name and cannot be put to these networks; a standard one is
            left out instead.
    """
    standard = tuple(question.name for question in questions) == STANDARD
    answers: dict[str, Answer] = {}
    skipped: dict[str, str] = {}
    blind = [one.name for one in exam.panel if not one.network.differentiable]
    for question in questions:
        if question.name in NEEDS_GRADIENTS and blind:
            reason = (
                f"{', '.join(blind)} can be asked for predictions alone (an ONNX file), and it needs gradients"
            )
            if not standard:
                raise ConfigError(f"audit: the question '{question.name}' cannot be asked: {reason}.")
            skipped[question.name] = reason
            continue
        try:
            with doing(f"audit: {question.name}", shown=progress):
                answer: Answer = QUESTIONS[question.name](exam, **question.settings)
        except InputError as error:
            if not standard:
                raise
            skipped[question.name] = str(error)
            continue
        answers[question.name] = answer
    return answers, skipped
