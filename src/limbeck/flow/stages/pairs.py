"""The stage `flow.pairs`: noise and data that a flow couples, in shards."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import torch
from torch import Tensor

from limbeck.engine.interrupt import stop_flag
from limbeck.engine.progress import Progress
from limbeck.errors import CheckpointError, ConfigError, Interrupted
from limbeck.flow.artefact import fingerprint
from limbeck.flow.config import PairsStage
from limbeck.flow.data import Data, Images, Points, as_signed
from limbeck.flow.editing import invert
from limbeck.flow.pairs import Manifest, Pairs, begin, open_shard, shard_file, write_shard
from limbeck.flow.picture import picture_of
from limbeck.flow.sampling import sample
from limbeck.flow.stages._shared import Setting, number, open_setting
from limbeck.flow.velocity import Flow
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder
from limbeck.seeding import derive

_LOGGER = logging.getLogger("limbeck")
PLACE = "pairs"
TYPICAL = 0.1
"""How far the mean square of inverted noise may be from 1 before a warning."""


def run_pairs(config: PairsStage, folder: StageFolder, context: StageContext) -> None:
    """Make what is missing; shards that verify stay. Several processes share the shards."""
    setting = open_setting(config, context)
    teacher = setting.flow(config.teacher)
    data = setting.data if config.invert else None
    manifest = manifest_of(config, setting, teacher, data)
    place = folder.path / PLACE
    if setting.machine.main:
        _LOGGER.info("pairs: %s will take %s on disk.", f"{manifest.count:,}", _size(manifest.bytes))
        begin(place, manifest)
    setting.machine.wait()
    began = time.perf_counter()
    made = _make(config, setting, teacher, data, manifest, folder)
    setting.machine.wait()
    if setting.machine.main:
        _write(config, folder, manifest, seconds=time.perf_counter() - began, made=made)


def manifest_of(config: PairsStage, setting: Setting, teacher: Flow, data: Data | None) -> Manifest:
    """What the pairs will be."""
    count = config.count
    if count is None:
        assert isinstance(data, Images)
        count = len(data)
    if isinstance(data, Images) and count > len(data):
        raise ConfigError(f"count: {count} pairs of real images are asked for, there are {len(data)}.")
    keep = config.keep
    if keep == "uint8" and teacher.image_shape == (2, 1, 1):
        raise ConfigError("keep: uint8 is for images in [-1, 1]; points need keep: float32.")
    return Manifest(
        direction="inverted" if config.invert else "generated",
        count=count,
        shard_size=config.shard_size,
        image_shape=teacher.image_shape,
        kept=keep,
        classes=teacher.classes,
        class_names=teacher.class_names,
        seed=derive(setting.seed, "pairs"),
        teacher=fingerprint(teacher),
        solver=config.solver.model_dump(mode="json"),
        evaluations=0 if config.solver.name == "adaptive" else config.evaluations,
        guidance=config.guidance,
        data=data.fingerprint if data is not None else None,
    )


def _make(
    config: PairsStage, setting: Setting, teacher: Flow, data: Data | None, manifest: Manifest, folder: StageFolder
) -> int:
    """Every shard of this process that is not there yet; how many pairs were made."""
    machine, place, made = setting.machine, folder.path / PLACE, 0
    mine = range(machine.rank, manifest.shards, machine.world)
    shown = setting.context.progress and machine.main
    with stop_flag() as stop, Progress(folder.name, steps=len(mine), shown=shown) as progress:
        for done, shard in enumerate(mine):
            if not _intact(folder, manifest, shard):
                images, labels, noise = couple(config, teacher, data, manifest, manifest.span(shard))
                write_shard(place, manifest, shard, images=images, labels=labels, noise=noise)
                made += len(images)
            progress.update(step=done + 1, epoch=1, loss=0.0)
            if stop:
                raise Interrupted(
                    f"stopped by {stop.name} after shard {shard + 1} of {manifest.shards}; finished shards "
                    "stay. The "
                    "same command continues."
                )
    return made


def couple(
    config: PairsStage, teacher: Flow, data: Data | None, manifest: Manifest, span: range
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Images, labels and noise of some indices; noise only where no index gives it."""
    device = next(teacher.parameters()).device
    images, labels, noises = [], [], []
    real = _real(data, manifest, span) if data is not None else None
    for first in range(span.start, span.stop, config.batch_size):
        index = torch.arange(first, min(first + config.batch_size, span.stop))
        if real is None:
            told = manifest.labels(index)
            made = sample(
                teacher,
                manifest.noise(index).to(device),
                told.to(device) if told is not None else None,
                evaluations=None if config.solver.name == "adaptive" else config.evaluations,
                solver=config.solver,
                guidance=config.guidance,
                first=first,
            )
            images.append(made.x.cpu())
        else:
            rows = index - span.start
            x, told = real[0][rows], real[1][rows] if real[1] is not None else None
            found = invert(
                teacher,
                x,
                told if teacher.classes else None,
                evaluations=config.evaluations,  # an adaptive solver takes no notice
                solver=config.solver,
                seed=derive(manifest.seed, "blur"),
                index=index,
            )
            images.append(x.cpu())
            noises.append(found.x.cpu())
        if told is not None and teacher.classes:
            labels.append(told.cpu())
    return torch.cat(images), torch.cat(labels) if labels else None, torch.cat(noises) if noises else None


def _real(data: Data, manifest: Manifest, span: range) -> tuple[Tensor, Tensor | None]:
    """Real data of a shard with their classes, never mirrored; points are drawn for the shard as a whole."""
    if isinstance(data, Points):
        return data.draw(len(span), seed=derive(manifest.seed, "real", span.start)), None
    rows = torch.arange(span.start, span.stop, device=data.labels.device)
    return as_signed(data.pixels[rows]), data.labels[rows]


def _intact(folder: StageFolder, manifest: Manifest, shard: int) -> bool:
    place = folder.path / PLACE
    if not shard_file(place, shard).exists():
        return False
    try:
        open_shard(place, manifest, shard).verify()
    except CheckpointError as error:
        _LOGGER.warning("%s It is made again.", error)
        return False
    return True


def _write(config: PairsStage, folder: StageFolder, manifest: Manifest, *, seconds: float, made: int) -> None:
    pairs = Pairs(folder.path, verify=False)
    some = torch.arange(min(100 if manifest.image_shape != (2, 1, 1) else 2000, len(pairs)))
    picture = picture_of(pairs.images(some))
    if picture is not None:
        folder.write_image("pairs", picture, f"Data of the first {len(some)} pairs.")
    ratio = pairs.norm_ratio()
    size = sum(file.stat().st_size for file in pairs.folder.glob("*.safetensors"))
    what = "real images with the noise of their inversion" if config.invert else "generated pairs"
    passes = len(pairs) * manifest.evaluations * (1 if manifest.guidance is None else 2)
    numbers: dict[str, Any] = {
        "pairs": number(len(pairs), "count"),
        "bytes": number(size, "bytes", "lower"),
        "noise_mean_square": number(ratio, ""),
    }
    if passes:
        numbers["passes"] = number(passes, "count", "lower")
    if made:
        numbers["seconds"] = number(seconds, "s", "lower")
    each = f"{manifest.evaluations} evaluations each" if passes else "as many evaluations as the solver chose"
    summary = f"{len(pairs):,} {what}, {each}, {_size(size)}."
    if config.invert and abs(ratio - 1) > TYPICAL:
        note = (
            f" Their noise has a mean square of {ratio:.2f} where normal noise has 1: real data lie off what this "
            "teacher generates, and training on these pairs can make samples worse: measure what it does."
        )
        summary += note
        _LOGGER.warning("pairs:%s", note)
    folder.write_result(
        {
            "kind": "pairs",
            "pairs": PLACE,
            "numbers": numbers,
            "summary": summary,
            "components": [f"solver:{config.solver.name}"],
        }
    )


def _size(count: int) -> str:
    unit = min(int(math.log(max(count, 1), 1000)), 4)
    return f"{count / 1000**unit:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[unit]}"
