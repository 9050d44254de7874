"""What a stage will cost, found by building its networks and timing a few of its steps here."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from limbeck.classify.compare import CONTROL_OBJECTIVE
from limbeck.classify.config import ClassifierStage, CompareStage, DistillStage, EmaTeacher, Objective, TrainStage
from limbeck.classify.data import Data, load_data, training_stream
from limbeck.classify.fitting import build_task, with_head
from limbeck.classify.stages import as_teacher, build_student, find_teacher, stage_seed, train_objective
from limbeck.classify.teachers import Teacher
from limbeck.classify.teaching import ONE, Teaching
from limbeck.engine import Machine
from limbeck.engine._registry import OPTIMIZERS
from limbeck.engine.fit import settle_frozen
from limbeck.measures import flops, parameters
from limbeck.protocols import StageContext
from limbeck.specs import Spec, StageConfig

TIMED_STEPS = 5
_BACKWARD = 3
"""A training step of a network costs about three forward passes; a teacher's costs one."""


@dataclass(frozen=True)
class _Parts:
    """What a stage is made of."""

    data: Data
    student: nn.Module
    teaching: Teaching
    machine: Machine


def plan_train(config: TrainStage, context: StageContext, stages: Mapping[str, StageConfig]) -> dict[str, Any]:
    """Cost of `classify.train`."""
    return _plan(config, _parts(config, context, stages), [train_objective(config)], runs=1)


def plan_distill(config: DistillStage, context: StageContext, stages: Mapping[str, StageConfig]) -> dict[str, Any]:
    """Cost of `classify.distill`; a teacher that is not trained yet is stood for by its architecture."""
    return _plan(config, _parts(config, context, stages), [config], runs=1)


def plan_compare(config: CompareStage, context: StageContext, stages: Mapping[str, StageConfig]) -> dict[str, Any]:
    """Cost of `classify.compare`: every method is timed, the seeds are multiplied."""
    parts = _parts(config, context, stages)
    return _plan(config, parts, [CONTROL_OBJECTIVE, *config.methods.values()], runs=len(config.seeds))


def _parts(config: ClassifierStage, context: StageContext, stages: Mapping[str, StageConfig]) -> _Parts:
    seed = stage_seed(config, context)
    machine = Machine(device=context.device, precision=config.train.precision)
    data = load_data(config, seed=seed)
    student = build_student(config.model, data, seed=seed).to(machine.device)
    wanted = config.teacher if isinstance(config, DistillStage | CompareStage) else None
    if wanted is None:
        return _Parts(data, student, Teaching(), machine)
    if isinstance(wanted, EmaTeacher):
        return _Parts(data, student, Teaching(average=wanted.ema), machine)
    named = wanted if isinstance(wanted, Mapping) else {ONE: wanted}
    teachers = {name: _stand_in(one, data, machine, context, stages, seed) for name, one in named.items()}
    return _Parts(data, student, Teaching(teachers), machine)


def _stand_in(
    wanted: str | Spec,
    data: Data,
    machine: Machine,
    context: StageContext,
    stages: Mapping[str, StageConfig],
    seed: int,
) -> Teacher:
    """A teacher, or a network of its architecture where it is not trained yet."""
    earlier = stages.get(wanted) if isinstance(wanted, str) and wanted not in context.inputs else None
    if isinstance(earlier, ClassifierStage):
        return as_teacher(build_student(earlier.model, data, seed=seed), data, machine)
    return find_teacher(wanted, data, machine, context)


def _plan(config: ClassifierStage, parts: _Parts, objectives: Sequence[Objective], *, runs: int) -> dict[str, Any]:
    training, data, machine = config.train, parts.data, parts.machine
    example = torch.zeros(1, *data.train.image_shape, device=machine.device)
    timed = [_timed(config, parts, objective) for objective in objectives]
    batches = len(training_stream(data.train, training, machine=machine, seed=0))
    steps = training.steps or training.epochs * math.ceil(batches / training.accumulation)
    forward = flops(parts.student, example)
    teaching = sum(
        flops(t.model, torch.zeros(1, *t.data.input_shape, device=machine.device))
        for t in parts.teaching.teachers.values()
    )
    per_image = _BACKWARD * forward + teaching
    return {
        "parameters": parameters(parts.student),
        "trainable_parameters": max(t.trainable for t in timed),
        "flops_per_step": per_image * training.batch_size * training.accumulation,
        "steps": steps * runs * len(objectives),
        "seconds_per_step": statistics.fmean(t.seconds for t in timed) * training.accumulation,
        "seconds": sum(t.seconds for t in timed) * training.accumulation * steps * runs,
        "memory_bytes": machine.peak_memory_bytes(),
        "notes": [
            f"{len(data.train):,} training images, {len(data.test):,} test images, {machine.device}",
            f"{TIMED_STEPS} steps timed here for each of {len(objectives)} objectives; evaluation comes on top",
        ],
    }


@dataclass(frozen=True)
class _Timed:
    seconds: float
    trainable: int


def _timed(config: ClassifierStage, parts: _Parts, objective: Objective) -> _Timed:
    data, machine, training = parts.data, parts.machine, config.train
    # A copy: another head takes the student's own away, and the next objective wants it back.
    student = with_head(copy.deepcopy(parts.student), objective, parts.teaching, data, machine)
    task = build_task(
        student, objective, data=data, machine=machine, training=training, teaching=parts.teaching, seed=0
    )
    task.trainable.train()
    settle_frozen(task, machine)
    build = partial(OPTIMIZERS[training.optimizer.name], **training.optimizer.settings)
    optimizer = build([p for p in task.trainable.parameters() if p.requires_grad])
    still = training.model_copy(update={"workers": 0})
    stream = training_stream(data.train, still, machine=machine, seed=0, views=objective.views)
    seconds = []
    try:
        batches = iter(stream.epoch(1))
        batch = next(batches)
        for _ in range(TIMED_STEPS + 1):
            began = time.perf_counter()
            with machine.autocast():
                loss = task.step(batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            batch = next(batches, batch)
            machine.synchronize()
            seconds.append(time.perf_counter() - began)
    finally:
        task.close()
    return _Timed(statistics.median(seconds[1:]), sum(p.numel() for p in task.trainable.parameters()))
