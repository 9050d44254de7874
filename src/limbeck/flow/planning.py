"""What a flow stage will cost, found by timing a few passes of its network here."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from limbeck.errors import CheckpointError, ConfigError
from limbeck.flow._registry import DISTANCES
from limbeck.flow.artefact import load
from limbeck.flow.config import (
    CompareStage,
    DistillStage,
    FlowTraining,
    Learning,
    PairsStage,
    SampleStage,
    ScoreStage,
    Scoring,
    TeacherStage,
    TrainStage,
)
from limbeck.flow.stages._shared import Setting, class_names_of, open_setting
from limbeck.flow.stages.teacher import flow_of_diffusers, require_described
from limbeck.flow.velocity import Flow
from limbeck.measures import parameters
from limbeck.models.velocity import build_velocity_network
from limbeck.protocols import StageContext
from limbeck.specs import StageConfig

TIMED = 3
_PASSES = {
    "reflow": 1,
    "direct": 1,
    "progressive": 3,
    "consistency_distillation": 4,
    "consistency_training": 2,
    "mean_flow": 2,
}
_BACKWARD = 3.0
"""A training step of a network costs about three forward passes."""
_PATIENCE = 10.0
"""Seconds. On a CPU a stage whose passes would take longer is timed with one image and counted in proportion."""
_BYTES = {"uint8": 1, "float16": 2, "float32": 4}

Stages = Mapping[str, StageConfig]


def plan_train(config: TrainStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `flow.train`."""
    setting = open_setting(config, context)
    flow = _of_training(setting, config)
    return _trained(setting, flow, config.train, passes=1, students=1, notes=[])


def plan_teacher(config: TeacherStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `flow.teacher`: reading a file."""
    setting = open_setting(config, context)
    if not Path(config.weights).expanduser().exists():
        raise CheckpointError(f"weights: there is no file or folder at {config.weights}.")
    flow = _of_teacher(config)
    return _plan(parameters(flow), 0, 0.0, [f"weights are read from {config.weights}", str(setting.device)], 0)


def plan_pairs(config: PairsStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `flow.pairs`, with the bytes on disk."""
    setting = open_setting(config, context)
    flow = _flow(setting, config.teacher, stages)
    count = config.count or len(setting.data)  # type: ignore[arg-type]
    values = math.prod(flow.image_shape)
    each = values * _BYTES[config.keep] + (4 * values if config.invert else 0) + (8 if flow.classes else 0)
    passes = count * config.evaluations * (2 if config.guidance is not None else 1)
    seconds = _timed(setting, flow, config.batch_size, train=False) / config.batch_size
    return _plan(
        parameters(flow),
        passes,
        seconds,
        [f"{count * each:,} bytes on disk", "a step here is one pass of one image"],
        0,
    )


def plan_distill(config: DistillStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `flow.distill`."""
    setting = open_setting(config, context)
    _require_distance(config)
    flow = _flow(setting, config.teacher, stages)
    return _trained(setting, flow, config.train, passes=_passes(config), students=1, notes=[config.method.name])


def plan_compare(config: CompareStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `flow.compare`: all students."""
    setting = open_setting(config, context)
    for variant in config.variants.values():
        _require_distance(variant)
    _require_inception(config.scoring)
    flow = _flow(setting, config.teacher, stages)
    students = len(config.variants) * len(config.seeds)
    share = 1.0
    if config.equal == "steps":
        share = statistics.fmean(1 + (_passes(v) - 1) / _BACKWARD for v in config.variants.values())
    return _trained(
        setting, flow, config.train, passes=1, students=students, notes=[f"{students} students"], factor=share
    )


def plan_sample(config: SampleStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `flow.sample`."""
    setting = open_setting(config, context)
    flow = _flow(setting, config.flow, stages)
    passes = config.count * sum(config.evaluations or (1, 2)) * (2 if config.guidance is not None else 1)
    return _plan(parameters(flow), passes, _timed(setting, flow, 64, train=False) / 64, [], 0)


def plan_score(config: ScoreStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `flow.score`."""
    setting = open_setting(config, context)
    _require_inception(config.scoring)
    flow = _flow(setting, next(iter(config.flows.values())), stages)
    passes = config.scoring.samples * sum(config.scoring.evaluations) * len(config.flows)
    passes += config.scoring.samples * config.teacher_evaluations if config.teacher is not None else 0
    return _plan(
        parameters(flow), passes, _timed(setting, flow, 64, train=False) / 64, ["distances not counted"], 0
    )


def _require_distance(learning: Learning) -> None:
    """Files and packages of a distance that needs no classifier, before anything is spent."""
    distance = learning.distance
    if distance is not None and distance.name != "classifier":
        DISTANCES[distance.name](None, **distance.settings)


def _require_inception(scoring: Scoring) -> None:
    weights = scoring.inception_weights
    if weights is not None and not Path(weights).expanduser().is_file():
        raise ConfigError(f"scoring.inception_weights: there is no file at {weights}; the FID needs it.")


def _passes(learning: Learning) -> int:
    return _PASSES.get(learning.method.name, 1)


def _flow(setting: Setting, reference: str, stages: Stages) -> Flow:
    """The flow of a stage, which may not be trained yet: its network then has fresh weights."""
    if reference in setting.context.inputs and setting.context.inputs[reference].exists():
        return load(setting.context.inputs[reference], device=setting.device)
    earlier = stages[reference]
    if isinstance(earlier, TrainStage):
        return _of_training(open_setting(earlier, setting.context), earlier)
    if isinstance(earlier, TeacherStage):
        return _of_teacher(earlier).to(setting.device)
    assert isinstance(earlier, DistillStage)
    teacher = _flow(setting, earlier.teacher, stages)
    if earlier.network is None:
        return teacher
    network = setting.network(earlier.network, image_shape=teacher.image_shape, classes=teacher.classes, seed=0)
    return teacher.like(network.to(setting.device))


def _of_training(setting: Setting, config: TrainStage) -> Flow:
    data = setting.data
    classes = len(class_names_of(data)) if config.conditional else 0
    network = setting.network(config.network, image_shape=data.image_shape, classes=classes, seed=0)
    return Flow(network, config.parameterisation, image_shape=data.image_shape, classes=classes).to(setting.device)


def _of_teacher(config: TeacherStage) -> Flow:
    """A teacher's flow: a Diffusers folder as it is, or the network of a state dict with fresh weights."""
    place = Path(config.weights).expanduser()
    if place.is_dir():
        return flow_of_diffusers(place, config)
    shape, parameterisation = require_described(config)
    assert config.network is not None
    network = build_velocity_network(
        config.network.name, image_shape=shape, classes=config.classes, **config.network.settings
    )
    return Flow(network, parameterisation, image_shape=shape, classes=config.classes)


def _trained(
    setting: Setting,
    flow: Flow,
    training: FlowTraining,
    *,
    passes: int,
    students: int,
    notes: list[str],
    factor: float = 1.0,
) -> dict[str, Any]:
    batch = training.batch_size * training.accumulation
    seconds = _timed(setting, flow, training.batch_size, train=True) * training.accumulation
    seconds *= factor * (1 + (passes - 1) / _BACKWARD)
    return _plan(parameters(flow), training.steps * students, seconds, notes, batch)


def _timed(setting: Setting, flow: Flow, batch: int, *, train: bool) -> float:
    """Seconds of one pass, or of one training step, with so many images."""
    if setting.device.type == "cpu" and batch > 1:
        _run_once(flow, 1, train=train)  # the first pass of a process is slow, whatever the network
        began = time.perf_counter()
        _run_once(flow, 1, train=train)
        one = time.perf_counter() - began
        if one * batch * (TIMED + 1) > _PATIENCE:
            return one * batch
    return _median(lambda: _run_once(flow, batch, train=train), setting)


def _run_once(flow: Flow, batch: int, *, train: bool) -> None:
    device = next(flow.parameters()).device
    x = torch.randn(batch, *flow.image_shape, device=device)
    t = torch.full((batch,), 0.5, device=device)
    labels = torch.zeros(batch, dtype=torch.int64, device=device) if flow.classes else None
    if train:
        flow(x, t, labels).square().mean().backward()
        return
    with torch.no_grad():
        flow(x, t, labels)


def _median(run: Callable[[], None], setting: Setting) -> float:
    seconds = []
    for _ in range(TIMED + 1):
        began = time.perf_counter()
        run()
        setting.machine.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def _plan(count: int, steps: int, seconds: float, notes: list[str], batch: int) -> dict[str, Any]:
    return {
        "parameters": count,
        "trainable_parameters": count,
        "flops_per_step": 0,
        "steps": steps,
        "seconds_per_step": seconds,
        "seconds": seconds * steps,
        "memory_bytes": 16 * count,
        "notes": [*notes, f"{TIMED} passes timed"],
    }
