"""The stage `audit.detectors`: where detectors look, and which errors they share with their teacher."""

from __future__ import annotations

from limbeck.audit.conditions import parse
from limbeck.audit.config import DetectorsStage
from limbeck.audit.detectors._registry import DETECTOR_QUESTIONS
from limbeck.audit.detectors.examination import DetectorExamination
from limbeck.audit.detectors.subjects import DetectorPanel, DetectorSubject
from limbeck.audit.evidence import Answer
from limbeck.audit.opening import CONTROL, Named, split_name, trials_of
from limbeck.audit.outcome import judged
from limbeck.audit.products import write_audit
from limbeck.audit.subjects import Role
from limbeck.engine import Machine
from limbeck.engine.progress import doing
from limbeck.errors import ConfigError
from limbeck.models.detectors.artefact import load
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder
from limbeck.sources import build_detection


def run_detectors(config: DetectorsStage, folder: StageFolder, context: StageContext) -> None:
    """Ask every question about the detectors, judge the answers, and write what came of it."""
    for text in config.fail_on:
        parse(text)
    machine = Machine(device=context.device)
    if machine.world > 1:
        raise ConfigError(
            f"audit.detectors runs in one process ({machine.world} were started): start it without accelerate "
            "launch."
        )
    seed = context.seed if config.seed is None else config.seed
    source = build_detection(config.source.name, split=config.split, **config.source.settings)
    subjects = [
        DetectorSubject(one.name, one.role, load(str(one.what), device=machine.device), one.method, one.seed)
        for one in _named(config, context)
    ]
    exam = DetectorExamination(
        _panel(subjects),
        source,
        limit=config.images,
        score=config.score,
        seed=seed,
        batch_size=config.batch_size,
        device=machine.device,
    )
    answers: dict[str, Answer] = {}
    for question in config.questions:
        with doing(f"audit: {question.name}", shown=context.progress):
            answers[question.name] = DETECTOR_QUESTIONS[question.name](exam, **question.settings)
    found = judged(
        exam.panel,
        answers,
        data={"name": config.source.name, "images": len(exam), "classes": list(exam.class_names)},
        questions=[question.model_dump(mode="json") for question in config.questions],
        statistics=config.statistics.model_dump(mode="json"),
        seed=exam.seed,
        skipped={},
    )
    write_audit(folder, found, fail_on=config.fail_on)


def _named(config: DetectorsStage, context: StageContext) -> list[Named]:
    found = [Named("teacher", "teacher", "", None, str(context.inputs[config.teacher]))]
    if config.comparison is not None:
        found += trials_of(context.inputs[config.comparison])
    for name, reference in config.students.items():
        found.append(Named(name, "student", *split_name(name), str(context.inputs[reference])))
    for name, reference in config.controls.items():
        found.append(Named(name, "control", CONTROL, split_name(name)[1], str(context.inputs[reference])))
    names = [one.name for one in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ConfigError(f"audit: two detectors are named '{twice}'. Name them by seed: {twice}-s0, {twice}-s1.")
    return found


def _panel(subjects: list[DetectorSubject]) -> DetectorPanel:
    def of(role: Role) -> tuple[DetectorSubject, ...]:
        return tuple(subject for subject in subjects if subject.role == role)

    if not of("student"):
        raise ConfigError("audit: no student was given; students: {kd: <stage or file>}, or comparison.")
    return DetectorPanel(of("teacher")[0], of("student"), of("control"))
