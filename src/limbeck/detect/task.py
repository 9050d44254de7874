"""A detector and its teachers as a task of the engine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from limbeck.detect.lesson import ASKS_HEAD, Lesson, Teachers
from limbeck.detect.terms import BoundTerm
from limbeck.errors import ConfigError
from limbeck.models.detectors.watching import Watch
from limbeck.protocols import Batch, StepOutput


class DetectorRoot(nn.Module):
    """The one module that receives gradients: the detector, and losses with weights.

    The teachers are no part of it: they would be saved, synchronised and put into training mode with it.

    Args:
        detector: that learns.
        terms: of its method.
        teachers: who teaches.
    """

    def __init__(self, detector: nn.Module, terms: Sequence[BoundTerm], teachers: Teachers) -> None:
        super().__init__()
        self.detector = detector
        self.losses = nn.ModuleDict({t.name: t.loss for t in terms if isinstance(t.loss, nn.Module)})
        self._watch = Watch(detector)
        self._terms, self._teachers = tuple(terms), teachers
        self._heads = any(ASKS_HEAD & set(term.inputs) for term in terms)
        self._still: tuple[nn.Module, ...] = ()

    def keep_in_eval(self, modules: Sequence[nn.Module]) -> None:
        """Modules with frozen weights, whose running statistics and dropout are to rest as well."""
        self._still = tuple(modules)

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but the frozen modules."""
        super().train(mode)
        for module in self._still:
            module.eval()
        return self

    def forward(self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The detector's own losses and the terms of its method, unweighted, by name."""
        losses, seen = self._watch.forward(images, targets)
        if not self._terms:
            return losses
        for term in self._terms:
            if term.name in losses:
                raise ConfigError(
                    f"a term is named '{term.name}', as one of the detector's own losses ({', '.join(losses)}) "
                    "is; give it another name."
                )
        lesson = Lesson(seen, self._teachers, self.detector, heads=self._heads)
        return {**losses, **{term.name: term.value(lesson) for term in self._terms}}

    def close(self) -> None:
        """Let go of the detector; the teachers may have other students."""
        self._watch.close()


class DetectTask:
    """Train a detector on its own losses and what its teachers add.

    Args:
        detector: that learns.
        terms: of its method; none trains it alone.
        teachers: who teaches.
        accumulation: batches a step.
        epoch_batches: batches an epoch, by which the steps before a term's start are counted.
    """

    def __init__(
        self,
        detector: nn.Module,
        terms: Sequence[BoundTerm],
        teachers: Teachers | None = None,
        *,
        accumulation: int = 1,
        epoch_batches: int | None = None,
    ) -> None:
        teachers = teachers or Teachers()
        self.root = DetectorRoot(detector, terms, teachers)
        self.trainable: nn.Module = self.root
        self.frozen: Mapping[str, nn.Module] = _modules(teachers)
        self._weights = {term.name: term.weight for term in terms}
        self._starts = {term.name: term.start for term in terms if term.start}
        self._accumulation, self._epoch_batches = accumulation, epoch_batches

    def start_epoch(self, epoch: int, epochs: float) -> None:
        """Nothing changes with the epoch."""

    def step(self, batch: Batch) -> StepOutput:
        """Forward passes of student and teachers, and the weighted sum."""
        found: dict[str, Tensor] = self.trainable(batch["images"], batch["targets"])
        waiting = {name for name, start in self._starts.items() if self._steps_before(batch) < start}
        terms = {n: value * (0.0 if n in waiting else self._weights.get(n, 1.0)) for n, value in found.items()}
        loss = torch.stack(tuple(terms.values())).sum()
        return StepOutput(loss, {n: value.detach() for n, value in terms.items() if n not in waiting})

    def _steps_before(self, batch: Batch) -> int:
        """Optimizer steps done when a batch comes; the last one of an epoch may be made of fewer batches."""
        number = int(batch["number"])
        if self._epoch_batches is None:
            return number // self._accumulation
        epochs, place = divmod(number, self._epoch_batches)
        return epochs * math.ceil(self._epoch_batches / self._accumulation) + place // self._accumulation

    def close(self) -> None:
        """Take all hooks off."""
        self.root.close()


def _modules(teachers: Teachers) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if teachers.classifier is not None:
        found["classifier"] = teachers.classifier.model
    if teachers.detector is not None:
        found["detector"] = teachers.detector.detector
    return found
