"""From a recipe's terms to terms that can be computed: losses bound, taps probed, projectors sized."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from limbeck.classify._registry import COSTS, PROJECTORS
from limbeck.classify.config import Term
from limbeck.classify.task import FEATURES, MAPS, BoundTerm, unique_names
from limbeck.classify.teachers import Teacher
from limbeck.errors import ConfigError, ModelError, TapError
from limbeck.losses import LOSSES
from limbeck.models import classifier_of
from limbeck.specs import Spec
from limbeck.taps import last_feature_map, probe, resolve

AUTO_PROJECTOR = {MAPS[0]: "conv", FEATURES[0]: "ensemble"}
"""What `projector: auto` stands for, by what the loss reads."""


@dataclass(frozen=True)
class Pair:
    """Student and teacher with one example batch, normalised for each; what a term is bound to.

    Attributes:
        student: on the CPU or the device, any mode.
        teacher: None when training on labels alone.
        student_images: example for the student, shape (n, c, h, w).
        teacher_images: the same images for the teacher.
        classes: number of classes.
    """

    student: nn.Module
    teacher: Teacher | None
    student_images: Tensor
    teacher_images: Tensor
    classes: int


def bind(terms: Sequence[Term], pair: Pair) -> list[BoundTerm]:
    """Terms ready to be computed.

    Raises:
        TapError: a tap that does not exist or does not fire, before any training.
        ShapeError: a projector that cannot bridge the two shapes.
        ConfigError: a setting that makes no sense for the loss.
    """
    names = unique_names([term.name or re.sub(r"\W+", "-", term.loss.name) for term in terms])
    return [_bind(name, term, pair) for name, term in zip(names, terms, strict=True)]


def _bind(name: str, term: Term, pair: Pair) -> BoundTerm:
    loss = LOSSES[term.loss.name]
    inputs = LOSSES.describe(term.loss.name).inputs
    student_tap, teacher_tap = _taps(name, term, inputs, pair)
    shapes = _shapes(student_tap, teacher_tap, pair)
    settings = term.loss.settings
    bound: Any = loss(**settings) if inspect.isclass(loss) else partial(loss, **settings)
    return BoundTerm(
        name=name,
        loss=bound,
        inputs=inputs,
        weight=term.weight,
        student_tap=student_tap,
        teacher_tap=teacher_tap,
        projector=_projector(term.projector, inputs, shapes),
        decay_start=term.decay.start if term.decay is not None else None,
        constants=_cost(name, term, inputs, pair),
    )


def _taps(name: str, term: Term, inputs: Sequence[str], pair: Pair) -> tuple[str | None, str | None]:
    if not set(inputs) & {*MAPS, *FEATURES} and term.taps is None:
        return None, None
    if pair.teacher is None:
        raise ConfigError(f"term '{name}' compares features with a teacher, and there is none.")
    if term.taps is not None:
        student, teacher = term.taps.student, term.taps.teacher
        return _one(pair.student, student), _one(pair.teacher.model, teacher)
    if set(inputs) & set(MAPS):
        return (
            last_feature_map(pair.student, pair.student_images),
            last_feature_map(pair.teacher.model, pair.teacher_images),
        )
    return _penultimate(pair.student, pair.classes), _penultimate(pair.teacher.model, pair.classes)


def _one(model: nn.Module, path: str) -> str:
    found = resolve(model, path)
    if len(found) != 1:
        raise TapError(f"taps: '{path}' matches {len(found)} modules ({', '.join(found[:5])}); a term reads one.")
    return found[0]


def _penultimate(model: nn.Module, classes: int) -> str:
    try:
        path, _ = classifier_of(model, classes)
    except ModelError as error:
        raise TapError(f"{error} Name the tap of the features: taps: {{student: ..., teacher: ...}}.") from error
    return f"{path}:input"


def _shapes(student_tap: str | None, teacher_tap: str | None, pair: Pair) -> tuple[tuple[int, ...], ...] | None:
    if student_tap is None or teacher_tap is None or pair.teacher is None:
        return None
    student = probe(pair.student, pair.student_images, [student_tap])[student_tap]
    teacher = probe(pair.teacher.model, pair.teacher_images, [teacher_tap])[teacher_tap]
    return tuple(student.shape[1:]), tuple(teacher.shape[1:])


def _projector(
    wanted: Spec | str | None, inputs: Sequence[str], shapes: tuple[tuple[int, ...], ...] | None
) -> nn.Module | None:
    if wanted is None or shapes is None:
        return None
    if isinstance(wanted, str):
        kind = next((AUTO_PROJECTOR[n] for n in inputs if n in AUTO_PROJECTOR), None)
        if kind is None:
            return None
        wanted = Spec(name=kind)
    built = PROJECTORS[wanted.name](student_shape=shapes[0], teacher_shape=shapes[1], **wanted.settings)
    assert isinstance(built, nn.Module)
    return built


def _cost(name: str, term: Term, inputs: Sequence[str], pair: Pair) -> dict[str, Tensor]:
    if "cost" not in inputs:
        if term.cost is not None:
            raise ConfigError(f"term '{name}': the loss {term.loss.name} takes no class cost; remove `cost`.")
        return {}
    if pair.teacher is None:
        raise ConfigError(f"term '{name}' needs a teacher for its class cost, and there is none.")
    spec = term.cost or Spec(name="prototypes")
    cost: Tensor = COSTS[spec.name](pair.teacher, **spec.settings)
    return {"cost": cost.to(pair.student_images.device)}
