"""The stage `audit.compare`: students and controls next to their teacher, question by question."""

from __future__ import annotations

from limbeck.audit.api import facts_of
from limbeck.audit.asking import ask
from limbeck.audit.conditions import parse
from limbeck.audit.config import CompareStage
from limbeck.audit.opening import open_examination
from limbeck.audit.outcome import judged
from limbeck.audit.placebo import with_placebo
from limbeck.audit.products import write_audit
from limbeck.engine import Machine
from limbeck.errors import ConfigError
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder


def run_compare(config: CompareStage, folder: StageFolder, context: StageContext) -> None:
    """Ask every question, judge the answers, and write what came of it."""
    for text in config.fail_on:
        parse(text)  # a slip in it is told before the work, not after
    machine = Machine(device=context.device)
    if machine.world > 1:
        raise ConfigError(
            f"audit.compare runs in one process ({machine.world} were started): start it without accelerate "
            f"launch."
        )
    exam = open_examination(config, context, machine.device)
    answers, skipped = ask(exam, config.questions, progress=context.progress)
    if config.placebo is not None:
        answers = {
            name: with_placebo(answer, exam.panel)
            if config.placebo_questions is None or name in config.placebo_questions
            else answer
            for name, answer in answers.items()
        }
    found = judged(
        exam.panel,
        answers,
        data=facts_of(exam),
        questions=[question.model_dump(mode="json") for question in config.questions],
        statistics=config.statistics.model_dump(mode="json"),
        seed=exam.seed,
        skipped=skipped,
    )
    write_audit(folder, found, fail_on=config.fail_on)
