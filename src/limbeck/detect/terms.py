"""From the terms of a recipe to losses that know where their inputs come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.detect.config import Term
from limbeck.detect.lesson import (
    ASKS_CLASSIFIER,
    ASKS_DETECTOR,
    INPUTS,
    Lesson,
    Reading,
    Teachers,
    column_cost,
    common_levels,
)
from limbeck.errors import ConfigError, TaskError
from limbeck.losses._registry import DETECTION_LOSSES
from limbeck.models.detectors.seen import Seen
from limbeck.models.detectors.watching import Watch
from limbeck.taps import evaluating


@dataclass(frozen=True)
class BoundTerm:
    """A loss with its weight and what it reads.

    Attributes:
        name: in the records.
        weight: factor in the sum.
        start: optimizer steps before it counts.
        loss: a function, or a module with weights of its own.
        inputs: names of its positional parameters.
        reading: where they come from.
    """

    name: str
    weight: float
    start: int
    loss: Callable[..., Tensor]
    inputs: tuple[str, ...]
    reading: Reading

    def value(self, lesson: Lesson) -> Tensor:
        """The loss of one batch: a number, the mean over positives where it has one value for each."""
        found = self.loss(*(lesson.get(name, self.reading) for name in self.inputs))
        return mean_over_all(found) if found.dim() else found


def mean_over_all(values: Tensor) -> Tensor:
    """Mean over the positives of all processes; zero, with a graph, where there are none.

    Gradients are averaged over processes, so each process's sum is divided by the mean count of a process.
    """
    count = torch.tensor(float(len(values)), device=values.device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(count)
        count /= torch.distributed.get_world_size()
    return values.sum() / count.clamp(min=1 / 1024)


def bind(
    terms: Sequence[Term], student: nn.Module, teachers: Teachers, *, examples: Sequence[Tensor]
) -> list[BoundTerm]:
    """Bind a method's terms to the networks at hand.

    Args:
        terms: of the recipe.
        student: the detector that learns, on its device.
        teachers: who teaches.
        examples: images in [0, 1], to find the shapes of feature maps with.

    Raises:
        ConfigError: a term that asks a teacher who is not there.
        ModelError: networks that do not have what a term reads.
    """
    for term in terms:
        _require_teacher(term, teachers)
    seen = _look(student, examples) if _asking(terms, ASKS_DETECTOR) else None
    taught = teachers.detector.look_as(seen) if seen is not None and teachers.detector is not None else None
    names = _names(terms)
    bound = []
    for name, term in zip(names, terms, strict=True):
        component = DETECTION_LOSSES.describe(term.loss.name)
        reading = Reading(term.taps, term.levels, term.tower, _cost(component.inputs, teachers))
        supplied = {
            key: value
            for key, value in _shapes(term, seen, taught, student, teachers).items()
            if key in component.settings
        }
        loss = _loss(term, supplied, next(student.parameters()).device)
        bound.append(BoundTerm(name, term.weight, term.start, loss, component.inputs, reading))
    return bound


def _shapes(
    term: Term, seen: Seen | None, taught: Seen | None, student: nn.Module, teachers: Teachers
) -> dict[str, Any]:
    """Shapes of what student and teacher give, for losses that have weights to fit them."""
    if seen is None or taught is None or teachers.detector is None:
        return {}
    levels = common_levels(seen.features, taught.features, term.levels)
    return {
        "student_shapes": [tuple(seen.features[level].shape[1:]) for level in levels],
        # Teacher maps are brought to the student's sizes.
        "teacher_shapes": [(taught.features[n].shape[1], *seen.features[n].shape[2:]) for n in levels],
        "student_shape": _pooled_shape(student, seen),
        "teacher_shape": _pooled_shape(teachers.detector.detector, taught),
    }


def _pooled_shape(detector: Any, seen: Seen) -> tuple[int, ...] | None:
    """Of the features under a proposal; None without a second stage."""
    if not hasattr(detector, "roi_heads"):
        return None
    channels = next(iter(seen.features.values())).shape[1]
    return (channels, *detector.roi_heads.box_roi_pool.output_size)


def _loss(term: Term, supplied: Mapping[str, Any], device: torch.device) -> Callable[..., Tensor]:
    made = DETECTION_LOSSES[term.loss.name]
    settings = {**term.loss.settings, **supplied}
    if isinstance(made, type) and issubclass(made, nn.Module):
        module: nn.Module = made(**settings).to(device)
        return module

    bound: Callable[..., Tensor] = partial(made, **settings)  # type: ignore[assignment]
    return bound


def _require_teacher(term: Term, teachers: Teachers) -> None:
    inputs = set(DETECTION_LOSSES.describe(term.loss.name).inputs)
    unknown = sorted(inputs - set(INPUTS))
    if unknown:
        raise TaskError(
            f"the loss '{term.loss.name}' takes '{unknown[0]}', which a detection task cannot supply. It "
            f"supplies: "
            f"{', '.join(sorted(INPUTS))}."
        )
    wants_logits = "object_logits" in inputs and teachers.labels is None
    wants_maps = bool(inputs & (ASKS_CLASSIFIER - {"object_logits"}))
    if teachers.classifier is None and (wants_logits or wants_maps):
        raise ConfigError(f"the term '{term.loss.name}' asks a classifier: classifier: <stage or model file>.")
    if teachers.detector is None and inputs & ASKS_DETECTOR:
        raise ConfigError(f"the term '{term.loss.name}' asks a larger detector: detector: <stage or model file>.")


def _asking(terms: Sequence[Term], inputs: frozenset[str]) -> bool:
    return any(inputs & set(DETECTION_LOSSES.describe(term.loss.name).inputs) for term in terms)


def _look(student: nn.Module, examples: Sequence[Tensor]) -> Seen:
    with evaluating(student):
        return Watch(student).look(examples)


def _cost(inputs: Sequence[str], teachers: Teachers) -> Tensor | None:
    if "cost" not in inputs or teachers.detector is None:
        return None
    return column_cost(teachers.detector.detector)


def _names(terms: Sequence[Term]) -> list[str]:
    names: list[str] = []
    for term in terms:
        wanted = term.name or term.loss.name
        count = sum(name == wanted or name.startswith(f"{wanted}-") for name in names)
        names.append(wanted if not count else f"{wanted}-{count + 1}")
    return names
