"""What an audit will cost: passes over the images, since nothing is trained."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch

from limbeck.audit.config import CompareStage, DetectorsStage
from limbeck.audit.opening import material_of, named_by, open_panel, open_source
from limbeck.engine import Machine
from limbeck.errors import InputError
from limbeck.measures import parameters
from limbeck.protocols import StageContext
from limbeck.sources import build_detection
from limbeck.specs import StageConfig

Stages = Mapping[str, StageConfig]

PASSES: Mapping[str, float] = {
    "localisation": 1.5,
    "adversarial": 5.0,
    "gradients": 1.5,
    "colour": 6.0,
    "crops": 8.0,
    "shifts": 8.0,
    "rotation": 4.0,
    "scale": 4.0,
    "corruptions": 10.0,
    "representations": 1.0,
    "boundaries": 6.0,
    "shape_bias": 1.0,
    "interventions": 3.0,
    "barrier": 12.0,
}
"""About how many forward passes over the audit's images a question takes for each network; one unless named."""
_TIMED = 64


def plan_compare(config: CompareStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `audit.compare`, from the time of one forward pass of the networks that are there already."""
    machine = Machine(device=context.device)
    source = open_source(config.source, config.split)
    material = material_of(source, name=config.source.name, count=config.images, seed=0)
    passes = sum(PASSES.get(question.name, 1.0) for question in config.questions)
    try:
        panel = open_panel(
            named_by(config, context), material, layers=config.layers, device=machine.device, data=source
        )
    except (InputError, KeyError) as error:
        return _plan(0, 0.0, [f"not timed: a network is not there yet ({error})"])
    images = material.images[:_TIMED].to(machine.device).float() / 255
    seconds = 0.0
    with torch.no_grad():
        for one in panel:
            one.network(images[:2])
            began = time.perf_counter()
            one.network(images)
            machine.synchronize()
            seconds += (time.perf_counter() - began) / len(images)
    count = sum(parameters(one.network) for one in panel)
    note = f"{len(list(panel))} networks, {len(material):,} images, about {passes:.0f} passes over them"
    return _plan(count, seconds * len(material) * passes, [note])


def plan_detectors(config: DetectorsStage, context: StageContext, stages: Stages) -> dict[str, Any]:
    """Cost of `audit.detectors`: its images alone, since detectors differ too much to be guessed."""
    source = build_detection(config.source.name, split=config.split, **config.source.settings)
    return _plan(0, 0.0, [f"{min(len(source), config.images or len(source)):,} images, one pass for predictions"])


def _plan(count: int, seconds: float, notes: list[str]) -> dict[str, Any]:
    return {
        "parameters": count,
        "trainable_parameters": 0,
        "flops_per_step": 0,
        "steps": 1,
        "seconds_per_step": seconds,
        "seconds": seconds,
        "memory_bytes": 4 * count,
        "notes": notes,
    }
