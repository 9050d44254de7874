"""What every stage begins with: data, networks, experts, students."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.dataset.config import DatasetStage, Labels, Students
from limbeck.dataset.flat import Flat
from limbeck.dataset.image_set import ImageSet, Subset, load
from limbeck.dataset.labelling import soft_labels
from limbeck.dataset.labels import label_bytes
from limbeck.dataset.preprocess import Preprocess
from limbeck.dataset.real import Real, as_real
from limbeck.dataset.students import PROTOCOLS, Recipe
from limbeck.dataset.teaching import Lesson, formed
from limbeck.dataset.trajectories import MANIFEST, Trajectories
from limbeck.engine import Machine
from limbeck.errors import CheckpointError, ConfigError, ModelError
from limbeck.models import DataConfig, build, data_config
from limbeck.models import load as load_model
from limbeck.protocols import StageContext
from limbeck.seeding import seed_everything
from limbeck.sources import build as build_source
from limbeck.sources.nesting import without_limits
from limbeck.specs import Spec

TRAJECTORIES = "trajectories"
SET_FILE = "set.safetensors"


@dataclass(frozen=True)
class Setting:
    """Where a stage works.

    Attributes:
        config: of the stage.
        context: seed, inputs, device.
        device: of all tensors.
        seed: of the stage.
    """

    config: DatasetStage
    context: StageContext
    device: torch.device
    seed: int

    @cached_property
    def real(self) -> Real:
        """The data, loaded when it is first asked for."""
        config = self.config
        spec, settings = config.source, config.source.settings
        return as_real(
            build_source(spec.name, split="train", **settings),
            build_source(spec.name, split="test", **without_limits(settings)),
            whiten=config.whiten,
            validation=config.validation,
            seed=config.split_seed,
            device=self.device,
            mean=config.mean,
            std=config.std,
        )

    def builder(self, spec: Spec) -> Callable[[int], nn.Module]:
        """Seed -> a network for this data with fresh weights; the same seed gives the same weights."""
        real = self.real
        given = {"in_channels": real.image_shape[0], "num_classes": real.classes, **spec.settings}

        def fresh(seed: int) -> nn.Module:
            seed_everything(seed, "weights")
            return build(spec.name, **given).to(self.device)

        return fresh

    def trajectories(self, reference: str) -> Trajectories:
        """The experts that a stage refers to, checked against the data.

        Raises:
            CheckpointError: none there, or of other data.
        """
        path = self.context.inputs[reference]
        found = Trajectories(path if (path / MANIFEST).exists() else path / TRAJECTORIES)
        real = self.real
        net = Flat(self.builder(expert_model(found))(0))
        found.require(net, real.class_names, real.image_shape, real.fingerprint)
        return found

    def teacher(self, reference: str) -> nn.Module:
        """A trained classifier that a stage refers to, frozen, on the device.

        Raises:
            ModelError: it knows other classes, or prepares images in another way.
        """
        model = load_model(self.context.inputs[reference]).to(self.device).eval().requires_grad_(False)
        real = self.real
        facts = data_config(model)
        names = None if facts is None else facts.class_names
        if names and tuple(names) != real.class_names:
            raise ModelError(
                f"the teacher '{reference}' knows other classes, or another order of them: "
                f"{', '.join(names[:4])}... "
                f"against {', '.join(real.class_names[:4])}..."
            )
        if facts is not None and (real.preprocess.name != "normalisation" or not _alike(facts, real)):
            raise ModelError(
                f"the teacher '{reference}' normalises with mean {facts.mean} and std {facts.std}; give this "
                f"stage the "
                "same: mean: [...], std: [...], whiten: false."
            )
        return model

    def image_set(self, reference: str) -> ImageSet:
        """An image set that a stage refers to, on the device, checked against the data.

        Raises:
            CheckpointError: no set of ours, or one of other classes or another size.
        """
        found = on_device(load(set_file(self.context.inputs[reference])), self.device)
        real = self.real
        if found.class_names != real.class_names:
            raise CheckpointError(
                f"the image set '{reference}' has other classes than the data, or another order of them: "
                f"{', '.join(found.class_names[:4])}... against {', '.join(real.class_names[:4])}..."
            )
        if tuple(found.image_shape) != tuple(real.image_shape):
            raise CheckpointError(
                f"the image set '{reference}' has images of {tuple(found.image_shape)}, the data "
                f"{tuple(real.image_shape)}."
            )
        if found.preprocess.name != real.preprocess.name:
            raise CheckpointError(
                f"the image set '{reference}' was made with {found.preprocess.name}, this stage prepares test "
                f"images "
                f"with {real.preprocess.name}: set whiten: {str(found.preprocess.name == 'zca').lower()}."
            )
        return found


def _alike(facts: DataConfig, real: Real) -> bool:
    own = torch.cat([t.double().cpu() for t in real.preprocess.tensors().values()])
    theirs = torch.tensor([*facts.mean, *facts.std], dtype=torch.float64)
    return own.shape == theirs.shape and torch.allclose(own, theirs, atol=1e-3)


def ipc_within(megabytes: float, real: Real, *, soft: bool) -> int:
    """Images per class that fit into a budget, labels counted.

    Raises:
        ConfigError: not even one does.
    """
    pixels = math.prod(real.image_shape) * real.classes
    each = pixels + label_bytes(real.classes, real.classes, k=None if soft else 0)
    found = int(megabytes * 1e6 // each)
    if found < 1:
        raise ConfigError(
            f"megabytes: {megabytes:g} hold no image of every class; one of each takes {each / 1e6:.3g} "
            f"({real.classes} classes, {tuple(real.image_shape)}, {'soft' if soft else 'hard'} labels)."
        )
    return found


def open_setting(config: DatasetStage, context: StageContext) -> Setting:
    """The setting of a stage; one process, since nothing here is a sum over a batch.

    Raises:
        ConfigError: started in several processes.
    """
    machine = Machine(device=context.device)
    if machine.world > 1:
        raise ConfigError(
            f"{config.kind} runs in one process ({machine.world} were started): "  # type: ignore[attr-defined]
            "start it without accelerate launch, and give several seeds or experts to several runs instead."
        )
    return Setting(config, context, machine.device, context.seed if config.seed is None else config.seed)


def expert_model(trajectories: Trajectories) -> Spec:
    """The spec of the network that experts are of."""
    return Spec(**trajectories.card.model)


def set_file(path: Path) -> Path:
    """The file of an image set, given its folder or itself."""
    return path / SET_FILE if path.is_dir() else path


def on_device(found: ImageSet, device: torch.device) -> ImageSet:
    """The same set with its tensors elsewhere."""
    subsets = tuple(
        replace(
            s,
            images=s.images.to(device),
            labels=s.labels.to(device),
            soft=None if s.soft is None else s.soft.to(device),
        )
        for s in found.subsets
    )
    return replace(found, subsets=subsets)


def recipe_of(students: Students) -> Recipe:
    """The protocol with the values that the stage changes."""
    base = PROTOCOLS[students.protocol]
    named = {k: getattr(students, k) for k in ("epochs", "lr", "batch_size", "augment")}
    changes: dict[str, Any] = {k: v for k, v in named.items() if v is not None}
    return replace(base, **changes)


def lessons_of(subsets: Sequence[Subset], kind: str, *, factor: int, preprocess: Preprocess) -> list[Lesson]:
    """The subsets as lessons with hard or soft labels.

    Raises:
        ConfigError: soft labels of a set without any.
    """
    lessons = []
    for subset in subsets:
        if kind == "soft" and subset.soft is None:
            raise ConfigError("this set has no soft labels; a stage of kind dataset.label gives it some.")
        targets = subset.labels if kind == "hard" or subset.soft is None else subset.soft
        lessons.append(formed(Lesson(subset.images, targets, subset.lr), factor, preprocess))
    return lessons


def labels_by(setting: Setting, trajectories: Trajectories, wanted: Labels, images: torch.Tensor) -> torch.Tensor:
    """Soft labels as a stage asks for them."""
    return soft_labels(
        Flat(setting.builder(expert_model(trajectories))(0)),
        trajectories,
        images,
        epoch=wanted.epoch,
        beta=wanted.beta,
        experts=wanted.experts,
        ema=wanted.ema,
        views=wanted.views,
        k=wanted.top_k,
        renormalise=wanted.renormalise,
        seed=setting.seed,
    )


def number(value: float, unit: str, better: str | None = None) -> Mapping[str, Any]:
    """A number of a result."""
    return {"value": value, "unit": unit, **({"better": better} if better else {})}
