"""What a stage of data-set distillation will cost, found by timing a few of its steps here."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.dataset import dsa
from limbeck.dataset.config import (
    AblateStage,
    DatasetStage,
    EvaluateStage,
    ExpertsStage,
    LabelStage,
    SearchStage,
    Students,
    SynthesizeStage,
)
from limbeck.dataset.stages._shared import Setting, expert_model, open_setting, recipe_of
from limbeck.dataset.stages.synthesize import sized
from limbeck.errors import ConfigError
from limbeck.measures import flops, parameters
from limbeck.protocols import StageContext
from limbeck.seeding import generator
from limbeck.specs import Spec, StageConfig

TIMED_STEPS = 3
SECOND_ORDER = 4.5
"""An inner step of trajectory matching, forwards and backwards again, in first-order steps (measured)."""

Stages = Mapping[str, StageConfig]


def plan_experts(config: ExpertsStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `dataset.experts`, with the bytes on disk."""
    setting = open_setting(config, context)
    model = setting.builder(config.model)(0)
    steps = config.experts * config.epochs * math.ceil(len(setting.real.train) / config.batch_size)
    size = parameters(model) * (2 if config.half else 4) * len(config.taken) * config.experts
    seconds = _timed(setting, model, config.batch_size, config.augment)
    return _plan(setting, model, config.batch_size, steps, seconds, [f"{size:,} bytes of snapshots on disk"])


def plan_label(config: LabelStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `dataset.label`: next to nothing."""
    setting = open_setting(config, context)
    model = _network(setting, config, None, config.experts, stages)
    return _plan(setting, model, 1, 1, 0.0, ["labels are a few passes of the expert"])


def plan_synthesize(config: SynthesizeStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `dataset.synthesize`, from a step of its network and the method's inner steps."""
    setting = open_setting(config, context)
    config = sized(config, setting)
    assert config.ipc is not None
    model = _network(setting, config, config.model, config.experts, stages)
    settings = config.method.settings
    batch = settings.get("batch_size") or settings.get("batch_real") or config.ipc * setting.real.classes
    inner = int(settings.get("steps", 1))
    steps = len(config.parts) * config.iterations * inner
    seconds = _timed(setting, model, int(batch), config.students.augment or "")
    factor = SECOND_ORDER if config.experts is not None else 1.0
    notes = [f"{config.method.name}: {inner} inner steps an iteration"]
    if config.experts is not None:
        notes.append(f"a second-order step taken as {SECOND_ORDER} first-order ones")
    return _plan(setting, model, int(batch), steps, seconds * factor, notes)


def plan_evaluate(config: EvaluateStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `dataset.evaluate` for sets of the size that their stages say."""
    setting = open_setting(config, context)
    ipcs = [getattr(stages.get(reference), "ipc", None) or 10 for reference in config.sets.values()]
    cells = [*ipcs, *(sorted(set(ipcs)) * len(config.controls))]
    each = len(config.models) * len(config.labels) * (2 if config.robust else 1)
    return _students(setting, config, config.students, cells, each, next(iter(config.models.values())), stages)


def plan_search(config: SearchStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `dataset.search`."""
    setting = open_setting(config, context)
    each = 1 + len(config.epochs) * (1 + len(config.top_k))
    return _students(setting, config, config.students, config.ipcs, each, config.model, stages, config.experts)


def plan_ablate(config: AblateStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `dataset.ablate`."""
    setting = open_setting(config, context)
    each = 4 + len(config.swaps) + len(config.tops) + 3 * len(config.erase)
    return _students(setting, config, config.students, [config.ipc], each, config.model, stages, config.experts)


def _students(
    setting: Setting,
    config: DatasetStage,
    students: Students,
    ipcs: Any,
    each: int,
    spec: Spec | None,
    stages: Stages,
    experts: str | None = None,
) -> dict[str, Any]:
    model = _network(setting, config, spec, experts, stages)
    recipe = recipe_of(students)
    total, steps = 0.0, 0
    for ipc in ipcs:
        images = ipc * setting.real.classes
        per_epoch = math.ceil(images / recipe.batch_size)
        epochs = getattr(config, "student_epochs", {}).get(ipc, recipe.epochs)
        count = each * len(students.seeds) * epochs * per_epoch
        total += count * _timed(setting, model, min(images, recipe.batch_size), recipe.augment)
        steps += count
    return _plan(setting, model, recipe.batch_size, steps, total / max(steps, 1), [f"{each} kinds of label"])


def _network(
    setting: Setting, config: DatasetStage, spec: Spec | None, experts: str | None, stages: Stages
) -> nn.Module:
    """The network of a stage: its own, or that of its experts, which may not be trained yet."""
    if spec is None and experts is not None:
        earlier = stages.get(experts)
        if isinstance(earlier, ExpertsStage) and experts not in setting.context.inputs:
            spec = earlier.model
        else:
            spec = expert_model(setting.trajectories(experts))
    if spec is None:
        if isinstance(config, LabelStage):
            return nn.Linear(1, 1)
        raise ConfigError("model: which network? Name one, or experts that have one.")
    return setting.builder(spec)(0)


def _timed(setting: Setting, model: nn.Module, batch: int, augment: str) -> float:
    """Seconds of one first-order training step with so many images."""
    real = setting.real
    rows = torch.arange(batch, device=real.device) % len(real.train)
    draws = generator(0, "plan")
    seconds = []
    for _ in range(TIMED_STEPS + 1):
        began = time.perf_counter()
        images: Tensor = dsa.augment(real.train.images[rows], augment, generator=draws)
        F.cross_entropy(model(images), real.train.labels[rows]).backward()
        if real.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def _plan(
    setting: Setting, model: nn.Module, batch: int, steps: int, seconds: float, notes: list[str]
) -> dict[str, Any]:
    count = parameters(model)
    example = torch.zeros(1, *setting.real.image_shape, device=setting.device)
    operations = 0 if isinstance(model, nn.Linear) else 3 * flops(model, example) * batch
    return {
        "parameters": count,
        "trainable_parameters": count,
        "flops_per_step": operations,
        "steps": steps,
        "seconds_per_step": seconds,
        "seconds": seconds * steps,
        "memory_bytes": 4 * (setting.real.train.images.numel() + setting.real.test.images.numel()),
        "notes": [*notes, f"{TIMED_STEPS} steps timed on {setting.device}"],
    }
