"""Train one detector on given objects: what every stage and the Python interface come down to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.detect.config import DetectTraining, Term
from limbeck.detect.data import picture, require_objects
from limbeck.detect.lesson import Teachers
from limbeck.detect.scoring import Judge, Scores
from limbeck.detect.task import DetectTask
from limbeck.detect.terms import bind
from limbeck.engine import FitResult, Machine, fit
from limbeck.engine._registry import OPTIMIZERS, SCHEDULES
from limbeck.errors import ConfigError
from limbeck.models.detectors.watching import Watch
from limbeck.models.partial_training import freeze, rate_factors
from limbeck.protocols import DetectionSource, Records
from limbeck.seeding import derive, seed_everything
from limbeck.sources._registry import DETECTION_AUGMENTS
from limbeck.sources.detection.augment import keeps_objects
from limbeck.sources.detection.loader import DetectionLoader
from limbeck.taps import evaluating

EXAMPLES = 2


@dataclass(frozen=True)
class Fitted:
    """A trained detector and how it did.

    Attributes:
        model: in eval mode, on the device, without hooks.
        scores: on the split that is measured.
        fit: what the loop did.
        extra_parameters: of losses and adapters, which are thrown away.
    """

    model: nn.Module
    scores: Scores
    fit: FitResult
    extra_parameters: int


def fit_detector(
    detector: nn.Module,
    terms: Sequence[Term],
    *,
    source: DetectionSource,
    training: DetectTraining,
    machine: Machine,
    records: Records,
    seed: int,
    judge: Judge,
    validation: Judge | None = None,
    teachers: Teachers | None = None,
    title: str = "training",
    progress: bool = False,
) -> Fitted:
    """Train a detector on its own losses and what its teachers add, and measure it.

    Args:
        detector: with its initial weights.
        terms: of its method; none trains it alone.
        source: training images.
        training: budget, optimizer, schedule and so on.
        machine: where to run.
        records: where numbers and checkpoints go; goes on where they end.
        seed: for order, augmentation, adapters and dropout.
        judge: measures the trained detector.
        validation: measures epochs while training, where the training asks for it.
        teachers: who teaches, on the same device.
        title: for the progress line.
        progress: show it.

    Raises:
        DataError: no image has a box.
        ConfigError: stored labels beside augmentations that change what a crop shows, a teacher missing, a best
            epoch that would be chosen on the test images, or a batch of one image that a norm cannot use.
        ModelError: networks that do not fit together.
    """
    require_objects(source, "learn")
    if training.keep == "best" and validation is not None:
        _require_apart(validation, judge)
    teachers = teachers or Teachers()
    augment = [partial(DETECTION_AUGMENTS[spec.name], **spec.settings) for spec in training.augment]
    if teachers.labels is not None:
        _require_fixed(training, augment)
    detector.to(machine.device)
    frozen = freeze(detector, training.freeze)
    seed_everything(derive(seed, "adapters"), "adapters")
    bound = bind(terms, detector, teachers, examples=examples_of(source, machine.device))
    loader = DetectionLoader(
        source,
        batch_size=training.batch_size,
        seed=derive(seed, "order"),
        augment=augment,
        workers=training.workers,
        device=machine.device,
        rank=machine.rank,
        world=machine.world,
    )
    task = DetectTask(detector, bound, teachers, accumulation=training.accumulation, epoch_batches=len(loader))
    task.root.keep_in_eval(frozen)
    task.root.train()
    _require_values(detector, loader)
    own = sum(p.numel() for p in detector.parameters())
    extra = sum(p.numel() for p in task.root.parameters()) - own
    try:
        done = fit(
            task,
            loader,
            machine=machine,
            records=records,
            seed=derive(seed, "training"),
            evaluate=None if validation is None else partial(_scalars, validation, detector),
            lr_factors=rate_factors(detector, training.lr_factors, prefix="detector."),
            title=title,
            progress=progress,
            **_loop_settings(training, validated=validation is not None),
        )
    finally:
        task.close()
    detector.eval()
    return Fitted(detector, judge(detector), done, extra)


def examples_of(source: DetectionSource, device: torch.device) -> list[Tensor]:
    """A few images in [0, 1], to probe networks with."""
    return [picture(source, place, device) for place in range(min(EXAMPLES, len(source)))]


def _require_apart(validation: Judge, judge: Judge) -> None:
    if judge.scoring.split == "test" and validation.source.fingerprint == judge.source.fingerprint:
        raise ConfigError(
            "train.keep: best would choose the epoch on the very images that are measured: the data have no test "
            "split of their own, so that of validation stands in. Say keep: last, or give the source a test split."
        )


def _require_values(detector: nn.Module, loader: DetectionLoader) -> None:
    """Refuse single images that a norm would find one value a channel in, now and not at the end of an epoch."""
    last = len(loader.source) % loader.batch_size or loader.batch_size
    if last // loader.world > 1:
        return
    values: dict[str, int] = {}

    def listen(name: str, groups: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: values.update({name: inputs[0].numel() // groups})

    with ExitStack() as stack:
        for name, module in detector.named_modules():
            if isinstance(module, nn.BatchNorm2d | nn.GroupNorm) and module.training:
                groups = module.num_groups if isinstance(module, nn.GroupNorm) else module.num_features
                stack.callback(module.register_forward_pre_hook(listen(name, groups)).remove)
        stack.enter_context(evaluating(detector))
        Watch(detector).look(examples_of(loader.source, loader.device)[:1])
    single = [name for name, count in values.items() if count == 1]
    if single:
        raise ConfigError(
            f"train.batch_size: {loader.batch_size} leaves a process a single image in a batch (of "
            f"{len(loader.source)}), in which the norm '{single[0]}' has one value a channel and no deviation to "
            "learn from. Choose another batch_size, or larger images."
        )


def _require_fixed(training: DetectTraining, augment: Sequence[Any]) -> None:
    for spec, function in zip(training.augment, augment, strict=True):
        if not keeps_objects(function):
            raise ConfigError(
                f"train.augment: '{spec.name}' changes what a crop of an object shows, so stored soft labels "
                f"do not "
                "fit. Leave it out, or leave out `labels` and let the classifier look at every crop."
            )


def _scalars(judge: Judge, detector: nn.Module) -> dict[str, float]:
    return {f"validation/{name}": found["value"] for name, found in judge(detector).numbers().items()}


def _loop_settings(training: DetectTraining, *, validated: bool) -> dict[str, Any]:
    optimizer, schedule = training.optimizer, training.schedule
    return {
        "optimizer": partial(OPTIMIZERS[optimizer.name], **optimizer.settings),
        "schedule": partial(SCHEDULES[schedule.name], **schedule.settings),
        "epochs": training.epochs,
        "steps": training.steps,
        "warmup_epochs": training.warmup_epochs,
        "accumulation": training.accumulation,
        "clip_norm": training.clip_norm,
        "ema_decay": training.ema,
        "evaluate_every": training.evaluate_every or 1,
        "keep": training.keep if validated else "last",
        "best_key": "validation/AP",
        "checkpoint_every": training.checkpoint_every,
        "log_every": training.log_every,
        "trackers": training.trackers,
    }
