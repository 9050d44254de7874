"""All questions about a panel, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.audit.config import STANDARD
from limbeck.audit.evidence import Answer
from limbeck.audit.examination import Examination
from limbeck.audit.questions._registry import NEEDS_GRADIENTS, QUESTIONS
from limbeck.engine.progress import doing
from limbeck.errors import ConfigError, InputError
from limbeck.specs import Spec, check_spec


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
    may_be_left_out = _standard(questions)
    for one in exam.panel:
        exam.logits(one, exam.material)  # damaged weights are told at once, whatever is asked
    answers: dict[str, Answer] = {}
    skipped: dict[str, str] = {}
    blind = [one.name for one in exam.panel if not one.network.differentiable]
    foreign = exam.panel.foreign
    attacked = [foreign.name] if foreign is not None and not foreign.network.differentiable else []
    for question in questions:
        cannot = [*blind, *attacked] if question.name == "adversarial" else blind
        if question.name in NEEDS_GRADIENTS and cannot:
            reason = (
                f"{', '.join(cannot)} can be asked for predictions alone (an ONNX file), and it needs gradients"
            )
            if question.name not in may_be_left_out:
                raise ConfigError(f"audit: the question '{question.name}' cannot be asked: {reason}.")
            skipped[question.name] = reason
            continue
        try:
            with doing(f"audit: {question.name}", shown=progress):
                answer: Answer = QUESTIONS[question.name](exam, **question.settings)
        except InputError as error:
            if question.name not in may_be_left_out:
                raise
            skipped[question.name] = str(error)
            continue
        answers[question.name] = answer
    return answers, skipped


def _standard(questions: Sequence[Spec]) -> frozenset[str]:
    """Questions that nobody asked for by name: those of the standard set, as they are, where the set is whole."""
    plain = [
        question.name for question in questions if question == check_spec(QUESTIONS, Spec(name=question.name))
    ]
    return frozenset(STANDARD) if set(STANDARD) <= set(plain) else frozenset()
