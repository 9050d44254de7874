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
from limbeck.classify.teachers import Teacher, check_classes
from limbeck.classify.terms import Pair, bind
from limbeck.engine import FitResult, Machine, evaluate, fit
from limbeck.engine._registry import OPTIMIZERS, SCHEDULES
from limbeck.engine.evaluate import Evaluation, guesses
from limbeck.errors import ModelError
from limbeck.protocols import Records
from limbeck.seeding import seed_everything
from limbeck.sources.loader import normalise


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
    bound = bind(terms, _pair(student, teacher, example, data))
    mean, std = data.train.mean, data.train.std
    task = ClassifyTask(student, bound, mean=mean, std=std, teacher=teacher)
    task.trainable.to(machine.device)
    judge = partial(_judge, task, data, machine, training.workers)
    try:
        result = fit(
            task,
            training_stream(data.train, training, machine=machine, seed=seed),
            machine=machine,
            records=records,
            evaluate=lambda: _scalars(*judge(reference)),
            seed=seed,
            title=title,
            progress=progress,
            **_loop_settings(training),
        )
        test, validation = judge(reference)
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


def _pair(student: nn.Module, teacher: Teacher | None, example: Tensor, data: Data) -> Pair:
    def for_teacher() -> Tensor:
        return normalise(example, teacher.data.mean, teacher.data.std) if teacher is not None else example

    return Pair(
        student,
        teacher,
        student_images=normalise(example, data.train.mean, data.train.std),
        teacher_images=for_teacher(),
        classes=len(data.class_names),
    )


def _check_student(student: nn.Module, example: Tensor, data: Data) -> None:
    from limbeck.classify.teachers import logits_of
    from limbeck.taps import evaluating

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


def _judge(
    task: ClassifyTask, data: Data, machine: Machine, workers: int, reference: Tensor | None
) -> tuple[Evaluation, Evaluation | None]:
    classes = len(data.class_names)

    def on(source: Any, reference: Tensor | None) -> Evaluation:
        stream = evaluation_stream(source, machine=machine, workers=workers)
        found = evaluate(
            task.root.predict,
            stream,
            machine=machine,
            classes=classes,
            modules=(task.root,),
            reference=reference,
        )
        task.root.taps.clear()
        return found

    test = on(data.test, reference)
    return test, on(data.validation, None) if data.validation is not None else None


def _scalars(test: Evaluation, validation: Evaluation | None) -> Mapping[str, float]:
    found = {"test/accuracy": test.accuracy, "test/loss": test.loss}
    if test.agreement is not None:
        found["test/agreement"] = test.agreement
    if validation is not None:
        found |= {"validation/accuracy": validation.accuracy, "validation/loss": validation.loss}
    return found
