"""What every stage begins with: machine, data, detectors, teachers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.detect.classifier import ClassifierTeacher
from limbeck.detect.config import CompareStage, DetectStage, DistillStage, Teaching, _Detector
from limbeck.detect.data import split_of
from limbeck.detect.labels import read_labels
from limbeck.detect.lesson import Teachers
from limbeck.detect.scoring import Judge
from limbeck.detect.starting import start_backbone, start_from
from limbeck.engine import Machine
from limbeck.errors import ConfigError, ModelError
from limbeck.measures.detection.average_precision import require_library
from limbeck.models import load as load_model
from limbeck.models.detectors import build_detector
from limbeck.models.detectors.artefact import load as load_detector
from limbeck.models.detectors.watching import Watch
from limbeck.protocols import DetectionSource, StageContext
from limbeck.seeding import seed_everything


@dataclass(frozen=True)
class Setting:
    """Where a stage works.

    Attributes:
        config: of the stage.
        context: seed, inputs, device.
        machine: device and processes.
        seed: of the stage.
    """

    config: DetectStage
    context: StageContext
    machine: Machine
    seed: int

    @property
    def device(self) -> torch.device:
        """Of all tensors."""
        return self.machine.device

    @cached_property
    def train(self) -> DetectionSource:
        """Images to learn from."""
        return split_of(self.config.source, "train")

    @cached_property
    def judge(self) -> Judge:
        """Measures detectors on the split that the stage names."""
        scoring = self.config.scoring  # type: ignore[attr-defined]
        return Judge(self.split(scoring.split), scoring, self.machine)

    @cached_property
    def validation(self) -> Judge | None:
        """Measures epochs while training, where that is asked for."""
        config = self.config
        assert isinstance(config, _Detector)
        if config.train.evaluate_every is None:
            return None
        return Judge(self.split("validation"), config.scoring, self.machine)

    def split(self, name: str) -> DetectionSource:
        """A split of the source, with the classes of the training split."""
        if name == "train":
            return self.train
        found = split_of(self.config.source, name)
        if list(found.class_names) != list(self.train.class_names):
            raise ConfigError(
                f"source {self.config.source.name}: the {name} split has other classes "
                f"({', '.join(list(found.class_names)[:4])}...) than the train split "
                f"({', '.join(list(self.train.class_names)[:4])}...)."
            )
        return found

    def student(self, seed: int) -> nn.Module:
        """The detector to train, with fresh weights or with trained ones; the same seed gives the same weights."""
        config = self.config
        assert isinstance(config, _Detector)
        seed_everything(seed, "weights")
        detector = build_detector(
            config.model.name, num_classes=len(self.train.class_names), **config.model.settings
        )
        if config.start_from is not None:
            weights = self.context.inputs[config.start_from]
            start_from(detector, weights, class_names=self.train.class_names)
        if config.start_backbone is not None:
            start_backbone(detector, self.context.inputs[config.start_backbone])
        return detector.to(self.device)

    def classifier(self, reference: str, *, crop_size: int | None) -> ClassifierTeacher:
        """A classifier that teaches, on the device."""
        model: Any = load_model(self.context.inputs[reference])
        return ClassifierTeacher(
            model.to(self.device), model.limbeck_data, self.train.class_names, crop_size=crop_size
        )

    def detector(self, reference: str) -> nn.Module:
        """A trained detector, in eval mode on the device, without gradients.

        Raises:
            ModelError: it finds other classes than the data have.
        """
        return known_detector(self.context.inputs[reference], self.train, self.device, what=reference)

    def teachers(self, config: DistillStage | CompareStage) -> Teachers:
        """Everyone who teaches in a stage."""
        return find_teachers(
            classifier=None
            if config.classifier is None
            else self.classifier(config.classifier, crop_size=config.teaching.crop_size),
            detector=None if config.detector is None else self.detector(config.detector),
            labels=None if config.labels is None else self.context.inputs[config.labels],
            source=self.train,
            teaching=config.teaching,
            device=self.device,
        )


def find_teachers(
    *,
    classifier: ClassifierTeacher | None,
    detector: nn.Module | None,
    labels: Path | None,
    source: DetectionSource,
    teaching: Teaching,
    device: torch.device,
) -> Teachers:
    """Teachers with what they know of a source."""
    return Teachers(
        classifier=classifier,
        detector=None if detector is None else Watch(detector.to(device).eval().requires_grad_(False)),
        labels=None if labels is None else read_labels(labels, source, classifier).to(device),
        teaching=teaching,
    )


def known_detector(path: Path, source: DetectionSource, device: torch.device, *, what: str) -> nn.Module:
    """A trained detector of a source's classes.

    Raises:
        CheckpointError: no intact detector there.
        ModelError: it finds other classes.
    """
    found: Any = load_detector(path, device=device).requires_grad_(False)
    names = tuple(found.limbeck_data.class_names)
    if names and names != tuple(source.class_names):
        raise ModelError(
            f"the detector '{what}' finds {', '.join(names[:6])}; the data have "
            f"{', '.join(list(source.class_names)[:6])}. Both need the same classes in the same order."
        )
    return found  # type: ignore[no-any-return]


def open_setting(config: DetectStage, context: StageContext, *, one_process: bool = False) -> Setting:
    """The setting of a stage.

    Raises:
        ConfigError: a stage that runs in one process was started in several.
        MissingExtraError: it measures detectors, and the library for that is not installed.
    """
    precision = config.train.precision if isinstance(config, _Detector) else "float32"
    machine = Machine(device=context.device, precision=precision)
    if one_process and machine.world > 1:
        raise ConfigError(
            f"{config.kind} runs in one process ({machine.world} were started): "  # type: ignore[attr-defined]
            "start it without accelerate launch."
        )
    if hasattr(config, "scoring"):
        require_library()
    return Setting(config, context, machine, context.seed if config.seed is None else config.seed)
