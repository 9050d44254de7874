"""Train one classifier on given objects: what every stage and the Python interface come down to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.classify.config import Term, Training
from limbeck.classify.data import Data, evaluation_stream, training_stream
from limbeck.classify.task import ClassifyTask
from limbeck.classify.teachers import Teacher, check_classes, logits_of
from limbeck.classify.terms import Pair, bind
from limbeck.engine import FitResult, Machine, evaluate, fit
from limbeck.engine._registry import OPTIMIZERS, SCHEDULES
from limbeck.engine.evaluate import Evaluation, guesses
from limbeck.errors import ModelError
from limbeck.protocols import Records, Stream
from limbeck.seeding import seed_everything
from limbeck.sources.loader import normalise
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
    terms: Sequence[Term],
    *,
    data: Data,
    training: Training,
    machine: Machine,
    records: Records,
    seed: int,
    teacher: Teacher | None = None,
    reference: Tensor | None = None,
    title: str = "training",
    progress: bool = False,
) -> Fitted:
    """Train a student on a sum of terms and measure it.

    Args:
        student: with its initial weights.
        terms: the objective, as in a recipe.
        data: what to learn from and be measured on.
        training: budget, optimizer, schedule and so on.
        machine: where to run.
        records: where numbers and checkpoints go.
        seed: for order, augmentation, projectors and dropout.
        teacher: on the same device.
        reference: the teacher's class for every test image, for the agreement.
        title: for the progress line.
        progress: show it.

    Raises:
        ModelError: student, teacher and data do not fit together.
    """
    student.to(machine.device)
    example = data.example(machine.device)
    _check_student(student, example, data)
    if teacher is not None:
        check_classes(teacher, data.class_names, example)
    seed_everything(seed, "projectors")  # each projector draws its own values from here on
    bound = bind(terms, pair_of(student, teacher, data, machine))
    mean, std = data.train.mean, data.train.std
    task = ClassifyTask(student, bound, mean=mean, std=std, teacher=teacher)
    task.trainable.to(machine.device)
    judge = _Judge(task, data, machine, training.workers, reference)
    try:
        result = fit(
            task,
            training_stream(data.train, training, machine=machine, seed=seed),
            machine=machine,
            records=records,
            evaluate=judge.scalars,
            seed=seed,
            title=title,
            progress=progress,
            **_loop_settings(training),
        )
        # The weights that are kept were judged a moment ago, unless an earlier epoch's came back.
        fresh = training.keep == "last" and judge.latest is not None
        test, validation = judge.latest if fresh and judge.latest is not None else judge()
    finally:
        task.close()
    student.limbeck_data = data.config  # type: ignore[assignment]  # what it was trained on travels with it
    return Fitted(
        student.eval(),
        test,
        validation,
        result,
        sum(p.numel() for p in task.root.parameters()) - sum(p.numel() for p in student.parameters()),
    )


def teacher_guesses(teacher: Teacher, data: Data, machine: Machine) -> Tensor:
    """The teacher's class for every test image."""
    stream = evaluation_stream(data.test, machine=machine, whole=True)
    return guesses(teacher, stream, machine=machine, images=len(data.test))


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


def pair_of(student: nn.Module, teacher: Teacher | None, data: Data, machine: Machine) -> Pair:
    """Student and teacher with one example batch, each in its own normalisation."""
    example = data.example(machine.device)
    seen = normalise(example, teacher.data.mean, teacher.data.std) if teacher is not None else example
    own = normalise(example, data.train.mean, data.train.std)
    return Pair(student, teacher, student_images=own, teacher_images=seen, classes=len(data.class_names))


def _check_student(student: nn.Module, example: Tensor, data: Data) -> None:
    try:
        with evaluating(student), torch.no_grad():
            classes = logits_of(student(example)).shape[1]
    except RuntimeError as error:
        raise ModelError(
            f"model and data: {type(student).__name__} cannot take images of shape {tuple(example.shape[1:])}: "
            f"{error}"
        ) from error
    if classes != len(data.class_names):
        raise ModelError(
            f"model and data: the model puts out {classes} classes, the data has {len(data.class_names)}. "
            f"Build it with num_classes={len(data.class_names)}."
        )


class _Judge:
    """Evaluates the student as it stands; the streams are made once."""

    def __init__(
        self, task: ClassifyTask, data: Data, machine: Machine, workers: int, reference: Tensor | None
    ) -> None:
        self._task, self._machine, self._reference = task, machine, reference
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
