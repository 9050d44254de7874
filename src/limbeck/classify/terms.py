"""From a recipe's terms to terms that can be computed: losses bound, taps probed, projectors sized."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.classify._registry import COSTS, PROJECTORS
from limbeck.classify.config import Term
from limbeck.classify.places import Places
from limbeck.classify.reading import Feature, features_at, kind_of
from limbeck.classify.task import FEATURES, LOGITS, MAP_LISTS, MAPS, BoundTerm, unique_names
from limbeck.classify.teachers import Teacher
from limbeck.errors import ConfigError, TapError, did_you_mean
from limbeck.losses import LOSSES
from limbeck.losses.ofd import ofd_margin
from limbeck.models.stages import known_stages
from limbeck.specs import Spec
from limbeck.taps import norm_before

PUBLISHED_PROJECTOR: Mapping[str, str | None] = {
    "ofd": "connector",
    "ickd": "connector",
    **dict.fromkeys(("at", "nst", "sp", "rkd", "rkd_distance", "rkd_angle", "pkt", "cc", "crd", "vid")),
    **dict.fromkeys(("reviewkd", "reviewkd_hcl", "simkd")),
}
"""What `projector: auto` stands for where it does not follow from what the loss reads; None for losses that
compare features of different sizes."""
PROJECTOR_BY_INPUT: Mapping[str, str] = {MAPS[0]: "conv", FEATURES[0]: "ensemble"}
"""What it stands for otherwise."""


@dataclass(frozen=True)
class Pair:
    """Student and teachers with one example batch, normalised for each; what a term is bound to.

    Attributes:
        student: on the CPU or the device, any mode.
        teachers: by name; empty when training on labels alone.
        student_images: example for the student, shape (n, c, h, w).
        teacher_images: the same images for each teacher.
        classes: number of classes.
        class_of: gives the label of every training image, shape (images,), int64.
    """

    student: nn.Module
    teachers: Mapping[str, Teacher]
    student_images: Tensor
    teacher_images: Mapping[str, Tensor]
    classes: int
    class_of: Callable[[], Tensor] = field(default=lambda: torch.empty(0, dtype=torch.int64))


def bind(terms: Sequence[Term], pair: Pair) -> list[BoundTerm]:
    """Terms ready to be computed; a loss on one map with several pairs of taps becomes one term for each.

    Raises:
        TapError: a tap that does not exist or does not fire, before any training.
        ShapeError: a projector that cannot bridge the two shapes.
        ConfigError: a setting that makes no sense for the loss.
    """
    bound = [one for term in terms for one in _bind(term, pair)]
    names = unique_names([term.name for term in bound])
    return [term.renamed(name) for term, name in zip(bound, names, strict=True)]


def _bind(term: Term, pair: Pair) -> list[BoundTerm]:
    name = term.name or re.sub(r"\W+", "-", term.loss.name)
    inputs = LOSSES.describe(term.loss.name).inputs
    if term.logits == "standardised" and not set(inputs) & set(LOGITS):
        raise ConfigError(f"term '{name}': the loss {term.loss.name} takes no logits; remove `logits`.")
    teacher = _teacher_of(name, term, inputs, pair)
    taps = _taps(name, term, inputs, teacher, pair)
    groups = [taps] if set(inputs) & set(MAP_LISTS) or not taps else [[one] for one in taps]
    weights = _weights(name, term, groups)
    return [
        _bound(name, term, inputs, teacher, group, weight, pair)
        for group, weight in zip(groups, weights, strict=True)
    ]


def _bound(
    name: str,
    term: Term,
    inputs: Sequence[str],
    teacher: str | None,
    taps: Sequence[tuple[str, str]],
    weight: float,
    pair: Pair,
) -> BoundTerm:
    student, teachers = _features(term, inputs, taps, teacher, pair)
    shapes = [(own.shape, taught.shape) for own, taught in zip(student, teachers, strict=True)]
    return BoundTerm(
        name=name,
        loss=_loss(name, term, shapes, pair),
        inputs=tuple(inputs),
        weight=weight,
        student_taps=tuple(own for own, _ in taps),
        teacher_taps=tuple(taught for _, taught in taps),
        student_readers=tuple(feature.read for feature in student),
        teacher_readers=tuple(feature.read for feature in teachers),
        projector=_projector(term, inputs, shapes),
        teacher=teacher,
        view=term.view,
        standardised=term.logits == "standardised",
        relational=bool(getattr(LOSSES[term.loss.name], "relational", False)),
        warmup_epochs=term.warmup.epochs if term.warmup is not None else None,
        decay_start=term.decay.start if term.decay is not None else None,
        constants=_constants(name, term, inputs, teacher, taps, pair),
    )


def _loss(name: str, term: Term, shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], pair: Pair) -> Any:
    """The loss with its settings; a class is given what it asks for of shapes and labels."""
    loss, settings = LOSSES[term.loss.name], dict(term.loss.settings)
    if not inspect.isclass(loss):
        return partial(loss, **settings)
    wanted = LOSSES.describe(term.loss.name).settings
    student, teacher = [s for s, _ in shapes], [t for _, t in shapes]
    supplied: dict[str, Callable[[], Any]] = {
        "student_shape": lambda: student[0],
        "teacher_shape": lambda: teacher[0],
        "student_shapes": lambda: student,
        "teacher_shapes": lambda: teacher,
        "class_of": pair.class_of,
    }
    try:
        given = {key: make() for key, make in supplied.items() if key in wanted}
    except IndexError as error:
        raise ConfigError(f"term '{name}': the loss {term.loss.name} needs taps of both networks.") from error
    return loss(**given, **settings)


def _teacher_of(name: str, term: Term, inputs: Sequence[str], pair: Pair) -> str | None:
    """Which teacher a term reads; None stands for the mean of all."""
    reads_features = bool(set(inputs) & {*MAPS, *FEATURES, *MAP_LISTS}) or term.taps is not None
    if term.teacher is not None:
        if term.teacher not in pair.teachers:
            known = ", ".join(pair.teachers) or "none"
            raise ConfigError(
                f"term '{name}': no teacher '{term.teacher}'.{did_you_mean(term.teacher, pair.teachers)} "
                f"Known: {known}."
            )
        return term.teacher
    if len(pair.teachers) == 1:
        return next(iter(pair.teachers))
    if pair.teachers and (reads_features or "cost" in inputs):
        raise ConfigError(
            f"term '{name}' reads inside a teacher, and there are several ({', '.join(pair.teachers)}); say "
            f"which: teacher: {next(iter(pair.teachers))}."
        )
    return None


def _taps(name: str, term: Term, inputs: Sequence[str], teacher: str | None, pair: Pair) -> list[tuple[str, str]]:
    """Pairs of paths, student first."""
    reads = set(inputs) & {*MAPS, *FEATURES, *MAP_LISTS}
    if not reads and term.taps is None:
        return []
    if teacher is None:
        raise ConfigError(f"term '{name}' compares features with a teacher, and there is none.")
    model = pair.teachers[teacher].model
    if term.taps is None:
        symbol = "@pooled" if reads & set(FEATURES) else "@stages" if reads & set(MAP_LISTS) else "@last"
        wanted_student: Sequence[str] = (symbol,)
        wanted_teacher: Sequence[str] = (symbol,)
    else:
        wanted_student, wanted_teacher = term.taps.student, term.taps.teacher
    return _paired(
        name,
        Places(pair.student, pair.student_images, pair.classes).paths(wanted_student),
        Places(model, pair.teacher_images[teacher], pair.classes).paths(wanted_teacher),
    )


def _paired(
    name: str, student: Sequence[Sequence[str]], teacher: Sequence[Sequence[str]]
) -> list[tuple[str, str]]:
    """Entry by entry; where a symbol found more in one network than in the other, the deepest ones of it."""
    if len(student) != len(teacher):
        raise TapError(
            f"term '{name}': {len(student)} taps of the student and {len(teacher)} of the teacher; they are "
            "compared one by one."
        )
    pairs: list[tuple[str, str]] = []
    for own, taught in zip(student, teacher, strict=True):
        count = min(len(own), len(taught))
        pairs += zip(own[len(own) - count :], taught[len(taught) - count :], strict=True)
    return pairs


def _weights(name: str, term: Term, groups: Sequence[Any]) -> list[float]:
    if isinstance(term.weight, float | int):
        return [float(term.weight)] * len(groups)
    if len(term.weight) < len(groups):
        raise ConfigError(
            f"term '{name}': {len(term.weight)} weights for {len(groups)} pairs of taps; give one number, or one "
            "for each."
        )
    return [float(w) for w in term.weight[len(term.weight) - len(groups) :]]


def _features(
    term: Term, inputs: Sequence[str], taps: Sequence[tuple[str, str]], teacher: str | None, pair: Pair
) -> tuple[list[Feature], list[Feature]]:
    """What is behind the taps of both networks, as the loss reads it."""
    if not taps or teacher is None:
        return [], []
    kind = kind_of(inputs)
    own = features_at(pair.student, pair.student_images, [s for s, _ in taps], kind)
    taught = features_at(pair.teachers[teacher].model, pair.teacher_images[teacher], [t for _, t in taps], kind)
    return own, taught


def _projector(
    term: Term, inputs: Sequence[str], shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
) -> nn.Module | None:
    wanted = term.projector
    if wanted == "auto":
        by_input = next((PROJECTOR_BY_INPUT[n] for n in inputs if n in PROJECTOR_BY_INPUT), None)
        kind = PUBLISHED_PROJECTOR.get(term.loss.name, by_input)
        wanted = Spec(name=kind) if kind is not None else None
    if not isinstance(wanted, Spec) or not shapes:
        return None
    if len(shapes) > 1:
        raise ConfigError(f"the loss {term.loss.name} compares several maps at once; remove `projector`.")
    built = PROJECTORS[wanted.name](student_shape=shapes[0][0], teacher_shape=shapes[0][1], **wanted.settings)
    assert isinstance(built, nn.Module)
    return built


def _constants(
    name: str,
    term: Term,
    inputs: Sequence[str],
    teacher: str | None,
    taps: Sequence[tuple[str, str]],
    pair: Pair,
) -> dict[str, Tensor]:
    """What a loss takes that is the same for every batch."""
    if "cost" not in inputs and term.cost is not None:
        raise ConfigError(f"term '{name}': the loss {term.loss.name} takes no class cost; remove `cost`.")
    if not {"cost", "margin"} & set(inputs):
        return {}
    if teacher is None:
        raise ConfigError(
            f"term '{name}' needs a teacher for its {'class cost' if 'cost' in inputs else 'margin'}."
        )
    device = pair.student_images.device
    if "margin" in inputs:
        norm = _norm(pair.teachers[teacher].model, pair.teacher_images[teacher], taps[0][1])
        return {"margin": ofd_margin(norm.weight.detach(), norm.bias.detach()).to(device)}
    spec = term.cost or Spec(name="prototypes")
    cost: Tensor = COSTS[spec.name](pair.teachers[teacher], **spec.settings)
    return {"cost": cost.to(device)}


def _norm(model: nn.Module, example: Tensor, path: str) -> nn.BatchNorm2d:
    """The batch norm in front of a tapped map, which says how its values are distributed."""
    for stage in known_stages(model, example) or ():
        if path in (stage.preactivation, stage.output) and stage.norm is not None:
            norm = model.get_submodule(stage.norm)
            break
    else:
        norm = norm_before(model, example, path)
    assert isinstance(norm, nn.BatchNorm2d)
    return norm
