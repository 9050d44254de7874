"""The stage `flow.train`: a flow from data and independent noise."""

from __future__ import annotations

import copy
from typing import Any

import torch

from limbeck.flow.artefact import save
from limbeck.flow.config import TrainStage
from limbeck.flow.data import Data, DataStream
from limbeck.flow.fitting import Fitted, fit_flow, method_of
from limbeck.flow.picture import picture_of
from limbeck.flow.sampling import sample
from limbeck.flow.stages._shared import FLOW_FILE, Setting, class_names_of, number, open_setting
from limbeck.flow.velocity import Flow
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder
from limbeck.seeding import derive, normals
from limbeck.specs import Spec


def run_train(config: TrainStage, folder: StageFolder, context: StageContext) -> None:
    """Train, resuming where it was left."""
    setting = open_setting(config, context)
    data = setting.data
    classes = len(data.class_names) if config.conditional else 0
    network = setting.network(config.network, image_shape=data.image_shape, classes=classes, seed=setting.seed)
    flow = Flow(
        network,
        config.parameterisation,
        image_shape=data.image_shape,
        classes=classes,
        rounds=0,
        trained=(1e-5, 1 - 1e-5),
    ).to(setting.device)
    method = method_of(
        Spec(name="reflow"),
        student=flow,
        teacher=None,
        times=config.times,
        objective=Spec(name="l2"),  # with independent pairs no other one leads to the flow
        distance=None,
        steps=config.train.steps,
        world=setting.machine.world,
    )
    stream = DataStream(
        data,
        batch_size=config.train.batch_size,
        seed=derive(setting.seed, "order"),
        labelled=config.conditional,
        rank=setting.machine.rank,
        world=setting.machine.world,
    )
    fitted = fit_flow(
        method,
        stream,
        config.train,
        machine=setting.machine,
        records=folder,
        seed=derive(setting.seed, "training"),
        label_dropout=config.label_dropout,
        title=folder.name,
        progress=context.progress,
    )
    if setting.machine.main:
        components = {f"velocity network:{config.network.name}", f"time distribution:{config.times.name}"}
        if config.source is not None:
            components.add(f"source:{config.source.name}")
        write_flow(folder, fitted, setting, data, components=components, evaluations=64)


def write_flow(
    folder: StageFolder,
    fitted: Fitted,
    setting: Setting,
    data: Data | None,
    *,
    components: set[str],
    evaluations: int,
    numbers: dict[str, Any] | None = None,
    notes: dict[str, Any] | None = None,
    class_names: tuple[str, ...] | None = None,
) -> None:
    """The flow with its averages, a picture of samples, and the result."""
    flow = fitted.flow
    names = class_names if class_names is not None else (class_names_of(data) if data is not None else ())
    names = names if flow.classes else ()
    save(flow, folder.path / FLOW_FILE, class_names=names, notes=notes)
    main = next(iter(fitted.averages), None)
    for decay, state in fitted.averages.items():
        if decay != main:
            other = flow.like(copy.deepcopy(flow.network))
            other.network.load_state_dict(state)
            place = folder.path / "averages"
            place.mkdir(exist_ok=True)
            save(other, place / f"ema-{decay:g}.safetensors", class_names=names)
    index = normals_of(flow, setting, count=100 if flow.image_shape != (2, 1, 1) else 2000)
    labels = labels_in_turn(flow, len(index), setting)
    made = sample(flow, index, labels, evaluations=evaluations)
    picture = picture_of(made.x)
    if picture is not None:
        folder.write_image("samples", picture, f"Samples with {made.evaluations} network evaluations.")
    steps = fitted.fit.steps
    folder.write_result(
        {
            "kind": "flow",
            "model": FLOW_FILE,
            "numbers": {
                "steps": number(steps, "count"),
                "passes": number(fitted.passes, "count", "lower"),
                "seconds": number(fitted.fit.seconds, "s", "lower"),
                **(numbers or {}),
            },
            "summary": f"A flow of {tuple(flow.image_shape)} after {steps:,} steps and {fitted.passes:,} "
            "forward passes.",
            "peak_memory_bytes": fitted.fit.peak_memory_bytes,
            "components": sorted(components),
        }
    )


def normals_of(flow: Flow, setting: Setting, *, count: int) -> Any:
    """Noise for pictures, always the same."""
    return normals(torch.arange(count, device=setting.device), seed=7, shape=flow.image_shape)


def labels_in_turn(flow: Flow, count: int, setting: Setting) -> Any:
    """Classes 0, 1, 2, ... for a picture; None for a flow without."""
    return torch.arange(count, device=setting.device) % flow.classes if flow.classes else None
