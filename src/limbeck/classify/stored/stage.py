"""The stage `classify.store_teacher`, from its configuration to its store, top to bottom."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch

from limbeck.classify.config import ClassifierStage
from limbeck.classify.data import Data, split_data
from limbeck.classify.places import Places
from limbeck.classify.stages import as_teacher, build_student, find_teacher
from limbeck.classify.stored.config import StoreStage
from limbeck.classify.stored.contents import Contents, plan
from limbeck.classify.stored.manifest import FOLDER, find
from limbeck.classify.stored.views import Views
from limbeck.classify.stored.writing import Written, contents_of, write_store
from limbeck.classify.teachers import Teacher, check_classes
from limbeck.engine import Machine
from limbeck.measures import flops, parameters
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder
from limbeck.sources import build
from limbeck.specs import Spec, StageConfig

TIMED_BATCHES = 3


def run_store(config: StoreStage, folder: StageFolder, context: StageContext) -> None:
    """Keep what a teacher puts out for every view that students will see."""
    machine = Machine(device=context.device, precision=config.precision)
    data = _data(config, context)
    teacher = _ready(find_teacher(config.teacher, data, machine, context), config, data, machine)
    contents = _contents(config, teacher)
    written = write_store(
        folder.path / FOLDER,
        teacher=teacher,
        source=data.train,
        views=_views(config, context),
        contents=contents,
        machine=machine,
        batch_size=config.batch_size,
        workers=config.workers,
        extends=find(context.inputs[config.extends]) if config.extends is not None else None,
        title=folder.name,
        progress=context.progress,
    )
    if machine.main:
        _write_result(folder, config, contents, written)
    machine.wait()


def plan_store(config: StoreStage, context: StageContext, stages: Mapping[str, StageConfig]) -> dict[str, Any]:
    """Cost of `classify.store_teacher`; a teacher that is not trained yet is stood for by its architecture."""
    machine = Machine(device=context.device, precision=config.precision)
    data = _data(config, context)
    teacher = _ready(_planned_teacher(config, data, machine, context, stages), config, data, machine)
    contents, views = _contents(config, teacher), _views(config, context)
    cost = plan(contents, views, samples=len(data.train), batch_size=config.batch_size)
    seconds = _timed(config, teacher, data, machine, views)
    batches = -(-len(data.train) // config.batch_size) * cost.passes
    count = parameters(teacher.model)
    return {
        "parameters": count,
        "trainable_parameters": count,
        "flops_per_step": flops(teacher.model, teacher.example[:1]) * config.batch_size,
        "steps": batches,
        "seconds_per_step": seconds,
        "seconds": seconds * batches,
        "memory_bytes": machine.peak_memory_bytes(),
        "notes": [f"{cost} (on disk), {machine.device}", f"{TIMED_BATCHES} batches of the teacher timed here"],
    }


def _data(config: StoreStage, context: StageContext) -> Data:
    """The training images that the students will learn from; no test image is needed here."""
    train = build(config.source.name, split="train", **config.source.settings)
    return split_data(train, train, validation=config.validation, seed=_seed(config, context))


def _seed(config: StoreStage, context: StageContext) -> int:
    return context.seed if config.seed is None else config.seed


def _views(config: StoreStage, context: StageContext) -> Views:
    seeds = config.seeds or (_seed(config, context),)
    return Views(seeds=seeds, epochs=config.epochs, augment=config.augment)


def _ready(teacher: Teacher, config: StoreStage, data: Data, machine: Machine) -> Teacher:
    """A teacher that fits the data, laid out as the stage wants it."""
    if config.channels_last:
        teacher.model.to(memory_format=torch.channels_last)
    check_classes(teacher, data.class_names, data.example(machine.device))
    return teacher


def _contents(config: StoreStage, teacher: Teacher) -> Contents:
    kept = config.outputs
    top = None if kept.logits == "full" else kept.logits.top
    places = Places(teacher.model, teacher.prepared(teacher.example), teacher.classes)
    taps = tuple(path for found in places.paths(kept.taps) for path in found)
    return contents_of(teacher, top=top, taps=taps, dtype=kept.dtype)


def _planned_teacher(
    config: StoreStage, data: Data, machine: Machine, context: StageContext, stages: Mapping[str, StageConfig]
) -> Teacher:
    wanted = config.teacher
    earlier = stages.get(wanted) if isinstance(wanted, str) and wanted not in context.inputs else None
    if isinstance(earlier, ClassifierStage):
        return as_teacher(build_student(earlier.model, data, seed=_seed(config, context)), data, machine)
    return find_teacher(wanted, data, machine, context)


def _timed(config: StoreStage, teacher: Teacher, data: Data, machine: Machine, views: Views) -> float:
    batches = views.loader(data.train, views.seeds[0], batch_size=config.batch_size, machine=machine).epoch(1)
    batch = next(batches)
    seconds = []
    for _ in range(TIMED_BATCHES + 1):
        began = time.perf_counter()
        with machine.autocast():
            teacher(batch["images"])
        machine.synchronize()
        batch = next(batches, batch)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def _write_result(folder: StageFolder, config: StoreStage, contents: Contents, written: Written) -> None:
    cost = written.plan
    folder.write_table(
        "outputs",
        {
            "title": "What is kept of each view",
            "columns": [
                {"key": "name", "label": "Output"},
                {"key": "shape", "label": "Shape"},
                {"key": "kind", "label": "Numbers"},
            ],
            "rows": [
                {"name": name, "shape": " x ".join(map(str, shape)) or "1", "kind": kind}
                for name, (kind, shape) in contents.tensors().items()
            ],
        },
    )
    components = [f"source:{config.source.name}", *(f"augmentation:{a.name}" for a in config.augment)]
    if isinstance(config.teacher, Spec):
        components.append(f"model:{config.teacher.name}")
    folder.write_result(
        {
            "kind": "teacher_outputs",
            "store": FOLDER,
            "numbers": {
                "passes": {"value": cost.passes, "unit": "count", "better": "lower"},
                "views": {"value": cost.images, "unit": "count"},
                "bytes": {"value": written.bytes, "unit": "bytes", "better": "lower"},
            },
            "summary": f"Outputs for {cost.images:,} views are stored in {written.bytes:,} bytes: {cost.passes:,} "
            f"{'pass' if cost.passes == 1 else 'passes'} of the teacher.",
            "components": sorted(components),
        }
    )
