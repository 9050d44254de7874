"""Train one classifier on given objects: what every stage and the Python interface come down to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.classify._registry import MAIN_VIEW
from limbeck.classify.config import Objective, Training
from limbeck.classify.data import Data, evaluation_stream, labels_of, training_stream
from limbeck.classify.moving_teacher import MovingTeacher
from limbeck.classify.signals import TeacherSignals
from limbeck.classify.stored import open_store
from limbeck.classify.task import OWN_AVERAGE, BoundTerm, ClassifyTask, listens
from limbeck.classify.teachers import Teacher, check_classes
from limbeck.classify.teaching import Teaching
from limbeck.classify.terms import Pair, bind
from limbeck.engine import FitResult, Machine, evaluate, fit
from limbeck.engine._registry import OPTIMIZERS, SCHEDULES
from limbeck.engine.evaluate import Evaluation, Guesses
from limbeck.engine.sync_norm import synchronised
from limbeck.errors import ConfigError, ModelError
from limbeck.models import DataConfig, data_config
from limbeck.models.outputs import logits_of
from limbeck.models.partial_training import freeze, rate_factors
from limbeck.models.reused_head import reuse_head
from limbeck.protocols import Records, Stream
from limbeck.seeding import seed_everything
from limbeck.sources.loader import normalise
from limbeck.sources.streaming import check_unchanged
from limbeck.taps import evaluating


@dataclass(frozen=True)
class Fitted:
    """A trained classifier and how it did.

    Attributes:
        model: in eval mode, on the device, without hooks.
        test: on the test split.
        validation: on the held-out share, if there is one.
        fit: what the loop did.
        extra_parameters: trainable parameters that are not the student's; they are thrown away.
    """

    model: nn.Module
    test: Evaluation
    validation: Evaluation | None
    fit: FitResult
    extra_parameters: int


def fit_classifier(
    student: nn.Module,
    objective: Objective,
    *,
    data: Data,
    training: Training,
    machine: Machine,
    records: Records,
    seed: int,
    teaching: Teaching | None = None,
    reference: Guesses | None = None,
    title: str = "training",
    progress: bool = False,
) -> Fitted:
    """Train a student on a sum of terms and measure it.

    Args:
        student: with its initial weights.
        objective: as in a recipe.
        data: what to learn from and be measured on.
        training: budget, optimizer, schedule and so on.
        machine: where to run.
        records: where numbers and checkpoints go.
        seed: for order, augmentation, projectors and dropout.
        teaching: who teaches, on the same device.
        reference: the teacher's class for every test image, for the agreement.
        title: for the progress line.
        progress: show it.

    Raises:
        ModelError: student, teacher and data do not fit together.
    """
    teaching = teaching or Teaching()
    statistics = input_statistics(student, data)
    example = data.example(machine.device)
    for name, teacher in teaching.teachers.items():
        _settle(name, teacher, example, data, training)
    seed_everything(seed, "projectors")  # each projector draws its own values from here on
    student = with_head(student, objective, teaching, data, machine)
    student.to(machine.device)
    if training.channels_last:
        student.to(memory_format=torch.channels_last)
    _check_student(student, normalise(example, statistics.mean, statistics.std), data)
    frozen = freeze(student, training.freeze)
    task = build_task(
        student, objective, data=data, machine=machine, training=training, teaching=teaching, seed=seed
    )
    task.root.keep_in_eval(frozen)
    if training.sync_batchnorm and machine.world > 1:
        synchronised(task.root)
    if machine.main:
        check_unchanged(data.train, Path(records.path))
    judge = _Judge(task, data, machine, training.workers, reference)
    try:
        result = fit(
            task,
            training_stream(data.train, training, machine=machine, seed=seed, views=objective.views),
            machine=machine,
            records=records,
            evaluate=judge.scalars,
            seed=seed,
            title=title,
            progress=progress,
            lr_factors=rate_factors(student, training.lr_factors, prefix="student."),
            **_loop_settings(training),
        )
        # The weights that are kept were judged a moment ago, unless an earlier epoch's came back.
        fresh = training.keep == "last" and judge.latest is not None
        test, validation = judge.latest if fresh and judge.latest is not None else judge()
    finally:
        task.close()
    student.limbeck_data = statistics  # type: ignore[assignment]  # what it was trained on travels with it
    learnt = sum(p.numel() for p in task.root.parameters() if p.requires_grad)
    own = sum(p.numel() for p in student.parameters() if p.requires_grad)
    return Fitted(student.eval(), test, validation, result, learnt - own)


def build_task(
    student: nn.Module,
    objective: Objective,
    *,
    data: Data,
    machine: Machine,
    training: Training,
    teaching: Teaching,
    seed: int,
) -> ClassifyTask:
    """The task of a stage, on the device: terms bound, taps probed, projectors sized."""
    statistics = input_statistics(student, data)
    teachers = dict(teaching.teachers)
    average: MovingTeacher | None = None
    if teaching.average is not None:
        average = MovingTeacher(student, teaching.average)
        example = data.example(machine.device)
        teachers[OWN_AVERAGE] = Teacher(average.network, statistics, example, lambda: ())
    bound = bind(objective.terms, pair_of(student, teachers, data, machine))
    task = ClassifyTask(
        student,
        bound,
        mean=statistics.mean,
        std=statistics.std,
        teachers=teachers,
        signals=_stored(teaching, bound, data, training, seed),
        average=average,
    )
    task.trainable.to(machine.device)
    return task


def input_statistics(student: nn.Module, data: Data) -> DataConfig:
    """What the student's input looks like: the data's statistics, or those that trained weights were made for."""
    facts = getattr(student, "limbeck_data", None)
    if facts is None and getattr(student, "limbeck_spec", {}).get("pretrained"):
        facts = data_config(student)
    if facts is None or len(facts.mean) != data.train.image_shape[0]:
        return data.config
    return dataclasses.replace(data.config, mean=tuple(facts.mean), std=tuple(facts.std))


def pair_of(student: nn.Module, teachers: Mapping[str, Teacher], data: Data, machine: Machine) -> Pair:
    """Student and teachers with one example batch, each in its own normalisation and size."""
    example = data.example(machine.device)
    own = input_statistics(student, data)
    return Pair(
        student,
        teachers,
        student_images=normalise(example, own.mean, own.std),
        teacher_images={name: teacher.prepared(example) for name, teacher in teachers.items()},
        classes=len(data.class_names),
        class_of=partial(labels_of, data.train),
    )


def _settle(name: str, teacher: Teacher, example: Tensor, data: Data, training: Training) -> None:
    if training.channels_last:
        teacher.model.to(memory_format=torch.channels_last)
    check_classes(teacher, data.class_names, example)


def with_head(
    student: nn.Module, objective: Objective, teaching: Teaching, data: Data, machine: Machine
) -> nn.Module:
    """The student itself, or with the teacher's classifier where the objective says so.

    Raises:
        ConfigError: there is not one teacher.
        ModelError: the student has no body to put a head on.
    """
    if objective.head is None:
        return student
    if len(teaching.teachers) != 1:
        raise ConfigError("head: a student takes over the classifier of one teacher; name one teacher.")
    teacher = next(iter(teaching.teachers.values()))
    example = teacher.prepared(data.example(machine.device))
    return reuse_head(
        student, teacher.model, example, num_classes=len(data.class_names), factor=objective.head.factor
    )


def _stored(
    teaching: Teaching, bound: list[BoundTerm], data: Data, training: Training, seed: int
) -> dict[str, TeacherSignals]:
    """Outputs from disk in place of the one teacher that gave them."""
    if teaching.stored is None:
        return {}
    if len(teaching.teachers) != 1:
        raise ConfigError("stored: the outputs on disk are those of one teacher; name one teacher.")
    elsewhere = [term for term in bound if term.view != MAIN_VIEW and listens(term)]
    if elsewhere:
        raise ConfigError(
            f"stored: the term '{elsewhere[0].name}' asks the teacher about the view '{elsewhere[0].view}', and a "
            "store holds what it said of the training images alone. Let the teacher run: remove `stored`."
        )
    name, teacher = next(iter(teaching.teachers.items()))
    paths = sorted({path for term in bound for path in term.teacher_taps})
    return {
        name: open_store(teaching.stored, teacher=teacher, data=data, training=training, seed=seed, taps=paths)
    }


def _loop_settings(training: Training) -> dict[str, Any]:
    schedule: Callable[[float, float], float] = partial(
        SCHEDULES[training.schedule.name], **training.schedule.settings
    )
    return {
        "optimizer": partial(OPTIMIZERS[training.optimizer.name], **training.optimizer.settings),
        "schedule": schedule,
        "epochs": training.epochs,
        "steps": training.steps,
        "warmup_epochs": training.warmup_epochs,
        "accumulation": training.accumulation,
        "clip_norm": training.clip_norm,
        "ema_decay": training.ema,
        "compile_module": training.compile,
        "evaluate_every": training.evaluate_every,
        "keep": training.keep,
        "checkpoint_every": training.checkpoint_every,
        "log_every": training.log_every,
        "trackers": training.trackers,
    }


def _check_student(student: nn.Module, example: Tensor, data: Data) -> None:
    try:
        with evaluating(student), torch.no_grad():
            classes = logits_of(student(example)).shape[1]
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ModelError(
            f"model and data: {type(student).__name__} cannot take images of shape {tuple(example.shape[1:])}: "
            f"{error}. Set size on the source to what the model takes, e.g. source: {{..., size: 224}}."
        ) from error
    if classes != len(data.class_names):
        raise ModelError(
            f"model and data: the model puts out {classes} classes, the data has {len(data.class_names)}. "
            f"Build it with num_classes={len(data.class_names)}."
        )


class _Judge:
    """Evaluates the student as it stands; the streams are made once."""

    def __init__(
        self, task: ClassifyTask, data: Data, machine: Machine, workers: int, reference: Guesses | None
    ) -> None:
        self._task, self._machine = task, machine
        self._reference = reference.classes if reference is not None else None
        self._classes = len(data.class_names)
        self._test = evaluation_stream(data.test, machine=machine, workers=workers)
        self._validation = (
            evaluation_stream(data.validation, machine=machine, workers=workers)
            if data.validation is not None
            else None
        )
        self.latest: tuple[Evaluation, Evaluation | None] | None = None

    def __call__(self) -> tuple[Evaluation, Evaluation | None]:
        """On the test split, and on the held-out share if there is one."""
        test = self._on(self._test, self._reference)
        self.latest = test, self._on(self._validation, None) if self._validation is not None else None
        return self.latest

    def scalars(self) -> Mapping[str, float]:
        """The same as numbers for the records."""
        test, validation = self()
        found = {"test/accuracy": test.accuracy, "test/loss": test.loss}
        if test.agreement is not None:
            found["test/agreement"] = test.agreement
        if validation is not None:
            found |= {"validation/accuracy": validation.accuracy, "validation/loss": validation.loss}
        return found

    def _on(self, stream: Stream, reference: Tensor | None) -> Evaluation:
        root = self._task.root
        found = evaluate(
            root.predict,
            stream,
            machine=self._machine,
            classes=self._classes,
            modules=(root,),
            reference=reference,
        )
        root.taps.clear()
        return found
