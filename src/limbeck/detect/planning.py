"""What a detection stage will cost, found by timing a few steps here."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from limbeck.detect.config import (
    CompareStage,
    DistillStage,
    EvaluateStage,
    LabelStage,
    Term,
    TrainStage,
    _Detector,
)
from limbeck.detect.data import require_objects
from limbeck.detect.fitting import examples_of
from limbeck.detect.left_out import left_out_notes
from limbeck.detect.lesson import Teachers
from limbeck.detect.stages._shared import Setting, open_setting
from limbeck.detect.task import DetectTask
from limbeck.detect.terms import bind
from limbeck.measures import parameters
from limbeck.measures.detection.average_precision import require_library
from limbeck.protocols import StageContext
from limbeck.seeding import seed_everything
from limbeck.sources.detection.loader import DetectionLoader
from limbeck.specs import StageConfig

TIMED = 3
Stages = Mapping[str, StageConfig]


def plan_train(config: TrainStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `detect.train`."""
    return _trained(open_setting(config, context), config, (), Teachers(), students=1, notes=[])


def plan_distill(config: DistillStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `detect.distill`."""
    setting = open_setting(config, context)
    teachers, missing = _teachers(setting, config)
    terms = () if missing else config.terms
    return _trained(setting, config, terms, teachers, students=1, notes=missing)


def plan_compare(config: CompareStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `detect.compare`: all students, timed with the method that has most terms."""
    setting = open_setting(config, context)
    teachers, missing = _teachers(setting, config)
    students = (1 + len(config.methods)) * len(config.seeds)
    dearest = max(config.methods.values(), key=len)
    notes = [f"{students} students", *missing]
    return _trained(setting, config, () if missing else dearest, teachers, students=students, notes=notes)


def plan_label(config: LabelStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `detect.label`, with the bytes on disk."""
    setting = open_setting(config, context)
    objects, classes = sum(setting.train.box_counts), len(setting.train.class_names)
    notes = [f"{objects * classes * 4:,} bytes on disk", *left_out_notes(setting.train, "training")]
    return _plan(0, objects, 0.0, [*notes, "a step here is one object"])


def plan_evaluate(config: EvaluateStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `detect.evaluate`: one pass of every detector."""
    require_library()
    setting = open_setting(config, context)
    source = setting.split(config.scoring.split)
    notes = left_out_notes(source, config.scoring.split)
    return _plan(0, len(source) * len(config.detectors), 0.0, [*notes, "a step here is one image"])


def _teachers(setting: Setting, config: DistillStage | CompareStage) -> tuple[Teachers, list[str]]:
    """Who teaches, as far as they exist already."""
    named = (config.classifier, config.detector, config.labels)
    waiting = [
        one
        for one in named
        if one is not None and not (one in setting.context.inputs and setting.context.inputs[one].exists())
    ]
    if waiting:
        return Teachers(), [f"timed without its teachers, not made yet: {', '.join(waiting)}"]
    return setting.teachers(config), []


def _with_weights_that_exist(setting: Setting, config: _Detector) -> Setting:
    """Without initial weights of an earlier stage that has yet to make them."""
    starts = {"start_from": config.start_from, "start_backbone": config.start_backbone}
    later = {name: None for name, one in starts.items() if one is not None and one not in setting.context.inputs}
    return replace(setting, config=config.model_copy(update=later)) if later else setting


def _trained(
    setting: Setting,
    config: _Detector,
    terms: Sequence[Term],
    teachers: Teachers,
    *,
    students: int,
    notes: list[str],
) -> dict[str, Any]:
    source, training = setting.train, config.train
    require_objects(source, "learn")
    detector = _with_weights_that_exist(setting, config).student(setting.seed)
    task = DetectTask(
        detector, bind(terms, detector, teachers, examples=examples_of(source, setting.device)), teachers
    )
    task.root.to(setting.device).train()
    loader = DetectionLoader(
        source, batch_size=min(training.batch_size, len(source)), seed=0, device=setting.device
    )
    seconds = []
    seed_everything(0, "plan")
    batches = loader.epoch(1)
    for batch in (next(batches, None) for _ in range(TIMED + 1)):
        if batch is None:
            break
        began = time.perf_counter()
        with setting.machine.autocast():
            loss = task.step(batch).loss
        loss.backward()
        setting.machine.synchronize()
        seconds.append(time.perf_counter() - began)
        task.root.zero_grad(set_to_none=True)
    task.close()
    epoch = -(-len(source) // training.batch_size)
    steps = training.steps or training.epochs * -(-epoch // training.accumulation)
    return _plan(
        parameters(detector),
        steps * students,
        statistics.median(seconds[1:] or seconds) * training.accumulation,
        [*notes, *left_out_notes(source, "training"), f"{len(seconds[1:])} steps timed"],
    )


def _plan(count: int, steps: int, seconds: float, notes: list[str]) -> dict[str, Any]:
    return {
        "parameters": count,
        "trainable_parameters": count,
        "flops_per_step": 0,
        "steps": steps,
        "seconds_per_step": seconds,
        "seconds": seconds * steps,
        "memory_bytes": 16 * count,
        "notes": notes,
    }
