"""The stage `flow.sample`: samples, and what the noise of real images allows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.flow.config import SampleStage
from limbeck.flow.data import Data, Images, as_bytes
from limbeck.flow.editing import interpolate, invert, translate
from limbeck.flow.picture import grid_png, picture_of, points_png
from limbeck.flow.sampling import Samples, sample
from limbeck.flow.stages._shared import Setting, number, open_setting
from limbeck.flow.straightness import curvature, straightness
from limbeck.flow.velocity import Flow
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder
from limbeck.sealed import write_sealed
from limbeck.seeding import derive, normals

SAMPLES_FILE = "samples.safetensors"
_SHOWN = 100


def run_sample(config: SampleStage, folder: StageFolder, context: StageContext) -> None:
    """Sample with every number of evaluations from the same noise."""
    setting = open_setting(config, context, one_process=True)
    flow = setting.flow(config.flow)
    index = torch.arange(config.count, device=setting.device)
    noise = normals(index, seed=derive(setting.seed, "samples"), shape=flow.image_shape)
    labels = _labels(config, flow, index)
    made: dict[int, Samples] = {}
    adaptive = config.solver is not None and config.solver.name == "adaptive"
    counts = config.evaluations or ((0,) if adaptive else (1, 2))
    for place, count in enumerate(counts):
        times = config.times if place == len(counts) - 1 else None
        made[count] = sample(
            flow,
            noise,
            labels,
            evaluations=None if times is not None or not count else count,
            solver=config.solver,
            times=times,
            guidance=config.guidance,
            batch_size=config.batch_size,
            keep=flow.image_shape == (2, 1, 1),
            trust=config.trust,
        )
        _show(folder, f"evaluations-{count}", made[count])
    tensors = {f"evaluations_{count}": _kept(found.x) for count, found in made.items()}
    if labels is not None:
        tensors["labels"] = labels
    write_sealed(
        folder.path / SAMPLES_FILE, tensors, {"format": "samples", "times": [list(m.times) for m in made.values()]}
    )
    numbers: dict[str, Any] = {"samples": number(config.count, "count")}
    if flow.predicts == "velocity":
        walked = sample(flow, noise[:200], labels[:200] if labels is not None else None, evaluations=16, keep=True)
        numbers["straightness"] = number(float(straightness(walked.states).mean()), "", "lower")
        numbers["curvature"] = number(float(curvature(walked.states).mean()), "degrees", "lower")
        if flow.image_shape != (2, 1, 1):
            shown = torch.cat([state[:1] for state in walked.estimates[::2]])
            folder.write_image(
                "estimates", grid_png(shown, columns=8), "What the flow takes the data to be on the way."
            )
    numbers |= _with_real(config, setting, flow, folder)
    folder.write_result(
        {
            "kind": "samples",
            "samples": SAMPLES_FILE,
            "numbers": numbers,
            "summary": f"{config.count} samples each with "
            f"{', '.join(str(m.evaluations) for m in made.values())} network evaluations.",
            "components": [f"solver:{config.solver.name}"] if config.solver is not None else [],
        }
    )


def _with_real(config: SampleStage, setting: Setting, flow: Flow, folder: StageFolder) -> dict[str, Any]:
    """Reconstruction, interpolation and translation of real images."""
    if config.reconstruct is None and config.interpolate is None and config.translate is None:
        return {}
    data, numbers = setting.data, {}
    if config.reconstruct is not None:
        x = data.draw(200, seed=setting.seed)
        labels = None
        if flow.classes and isinstance(data, Images):
            labels = data.draw_labels(200, seed=setting.seed)
        found = invert(flow, x, labels, evaluations=config.reconstruct)
        back = sample(flow, found.x, labels, evaluations=config.reconstruct).x
        numbers["reconstruction_error"] = number(float((back - x).square().mean()), "", "lower")
        numbers["inverted_noise_mean_square"] = number(float(found.x.square().mean()), "")
        if flow.image_shape != (2, 1, 1):
            both = torch.cat([x[:10], back[:10]])
            caption = f"Real images, and the same after {config.reconstruct} evaluations each way."
            folder.write_image("reconstruction", grid_png(both), caption)
    if config.interpolate is not None:
        first, second, labels = _ends(data, flow, seed=setting.seed + 1)
        between = interpolate(flow, first, second, labels, points=config.interpolate)
        rows = between.transpose(0, 1).flatten(0, 1)
        picture = grid_png(rows, columns=config.interpolate) if rows.shape[1] in (1, 3) else picture_of(rows)
        if picture is not None:
            folder.write_image("interpolation", picture, "Between real images, on the sphere of their noises.")
    if config.translate is not None:
        numbers |= _translated(config.translate, setting, flow, folder)
    return numbers


def _ends(data: Data, flow: Flow, *, seed: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Four pairs of real images; of one class each where the flow is told classes."""
    if not flow.classes or not isinstance(data, Images):
        some = data.draw(8, seed=seed)
        return some[:4], some[4:], None
    x, labels = data.draw(len(data), seed=seed), data.draw_labels(len(data), seed=seed)
    of_class = [(labels == c).nonzero()[:2, 0] for c in range(flow.classes)]
    rows = torch.stack([found for found in of_class if len(found) == 2][:4])
    return x[rows[:, 0]], x[rows[:, 1]], labels[rows[:, 0]]


def _translated(classes: tuple[int, int], setting: Setting, flow: Flow, folder: StageFolder) -> dict[str, Any]:
    data = setting.data
    if not isinstance(data, Images):
        raise ConfigError("translate: points have no classes.")
    if max(classes) >= len(data.class_names):
        raise ConfigError(f"translate: classes run from 0 to {len(data.class_names) - 1}; got {list(classes)}.")
    rows = (data.labels == classes[0]).nonzero()[:10, 0]
    x, source = data.batch(rows, seed=0, epoch=0)
    made = translate(flow, x, source, torch.full_like(source, classes[1]))
    names = [data.class_names[c] for c in classes]
    caption = f"'{names[0]}' as '{names[1]}' with {made.evaluations} evaluations in all."
    folder.write_image("translation", grid_png(torch.cat([x, made.x]), columns=len(x)), caption)
    return {"translation_evaluations": number(made.evaluations, "count", "lower")}


def _labels(config: SampleStage, flow: Flow, index: Tensor) -> Tensor | None:
    if not flow.classes:
        if config.labels is not None:
            raise ConfigError(f"labels: the flow '{config.flow}' knows no classes.")
        return None
    wanted = config.labels if config.labels is not None else tuple(range(flow.classes))
    if max(wanted) >= flow.classes:
        raise ConfigError(
            f"labels: {max(wanted)} is beyond the {flow.classes} classes of the flow (0 to {flow.classes - 1})."
        )
    return torch.tensor(wanted, device=index.device)[index % len(wanted)]


def _kept(x: Tensor) -> Tensor:
    return x if x.shape[1:] == (2, 1, 1) else as_bytes(x)


def _show(folder: StageFolder, name: str, made: Samples) -> None:
    if made.x.shape[1:] == (2, 1, 1):
        paths = [state[:200] for state in made.states] if made.states else None
        folder.write_image(
            name, points_png(made.x[:2000], paths=paths), f"{made.evaluations} evaluations, and the way there."
        )
        return
    picture = picture_of(made.x[:_SHOWN])
    if picture is not None:
        folder.write_image(name, picture, f"Samples with {made.evaluations} network evaluations.")
