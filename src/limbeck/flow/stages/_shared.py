"""What every stage begins with: machine, data, flows, classifiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from limbeck.engine import Machine
from limbeck.errors import ConfigError, ModelError
from limbeck.flow._registry import DISTANCES
from limbeck.flow.artefact import load as load_flow
from limbeck.flow.config import FlowStage, _Data
from limbeck.flow.data import Data, Images, Points, images_of
from limbeck.flow.direction import require_direction
from limbeck.flow.pairs import Pairs
from limbeck.flow.perception import FeatureDistance
from limbeck.flow.velocity import Flow
from limbeck.models import load as load_model
from limbeck.models.velocity import build_velocity_network
from limbeck.protocols import StageContext
from limbeck.seeding import seed_everything
from limbeck.sources import build as build_source
from limbeck.specs import Spec

FLOW_FILE = "model.safetensors"


@dataclass(frozen=True)
class Setting:
    """Where a stage works.

    Attributes:
        config: of the stage.
        context: seed, inputs, device.
        machine: device and processes.
        seed: of the stage.
    """

    config: FlowStage
    context: StageContext
    machine: Machine
    seed: int

    @property
    def device(self) -> torch.device:
        """Of all tensors."""
        return self.machine.device

    @cached_property
    def data(self) -> Data:
        """The real data: images to learn from, or points.

        Raises:
            ConfigError: the stage has none.
        """
        return self._data("train")

    @cached_property
    def reference(self) -> Data:
        """The real data that samples are compared with: the training images, as the paper does."""
        return self._data("train")

    def _data(self, split: str) -> Data:
        config = self.config
        assert isinstance(config, _Data)
        if config.target is not None:
            return Points(config.target, self.device)
        if config.source is None:
            raise ConfigError("real data are needed: source: <images>, or target: <a distribution in the plane>.")
        source = build_source(config.source.name, split=split, **config.source.settings)  # type: ignore[arg-type]
        return images_of(source, device=self.device, flip=config.flip)

    def flow(self, reference: str) -> Flow:
        """A flow that a stage refers to, on the device, its direction of time checked.

        Raises:
            CheckpointError: no flow there.
            ModelError: its time runs backwards, or its images have another shape than the data.
        """
        found = load_flow(self.context.inputs[reference], device=self.device).requires_grad_(False)
        config = self.config
        real = isinstance(config, _Data) and (config.source is not None or config.target is not None)
        if not real:
            require_direction(found)
        else:
            wanted = self.data.image_shape
            if tuple(found.image_shape) != tuple(wanted):
                raise ModelError(
                    f"the flow '{reference}' has images of {tuple(found.image_shape)}, the data {tuple(wanted)}. "
                    "Give the source that size, or another flow."
                )
            require_direction(found, self.data.draw(500, seed=0))
        return found

    def pairs(self, reference: str) -> Pairs:
        """Pairs that a stage refers to, verified."""
        return Pairs(self.context.inputs[reference])

    def classifier(self, reference: str) -> nn.Module:
        """A trained classifier that a stage refers to, on the device."""
        return load_model(self.context.inputs[reference]).to(self.device).eval().requires_grad_(False)

    def distance(self, spec: Spec | None, features: str | None) -> FeatureDistance | None:
        """The perceptual distance that a stage asks for."""
        if spec is None:
            return None
        model = self.classifier(features) if features is not None else None
        found: FeatureDistance = DISTANCES[spec.name](model, **spec.settings)
        return found.to(self.device)

    def network(self, spec: Spec, *, image_shape: tuple[int, int, int], classes: int, seed: int) -> nn.Module:
        """A network with fresh weights; the same seed gives the same weights."""
        seed_everything(seed, "weights")
        return build_velocity_network(spec.name, image_shape=image_shape, classes=classes, **spec.settings)


def open_setting(config: FlowStage, context: StageContext, *, one_process: bool = False) -> Setting:
    """The setting of a stage.

    Raises:
        ConfigError: a stage that runs in one process was started in several.
    """
    machine = Machine(
        device=context.device, precision=getattr(getattr(config, "train", None), "precision", "float32")
    )
    if one_process and machine.world > 1:
        raise ConfigError(
            f"{config.kind} runs in one process ({machine.world} were started): "  # type: ignore[attr-defined]
            "start it without accelerate launch."
        )
    return Setting(config, context, machine, context.seed if config.seed is None else config.seed)


def class_names_of(data: Data) -> tuple[str, ...]:
    """In the order of the labels; none for points."""
    return data.class_names if isinstance(data, Images) else ()


def number(value: float, unit: str, better: str | None = None) -> Mapping[str, Any]:
    """A number of a result."""
    return {"value": value, "unit": unit, **({"better": better} if better else {})}
