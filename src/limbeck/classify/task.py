"""Distilling a classifier: the weighted sum of a few terms over one student and its teachers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from limbeck.classify._registry import MAIN_VIEW
from limbeck.classify.moving_teacher import MovingTeacher
from limbeck.classify.signals import LOGITS_KEY, TAP_KEY, LiveTeacher, TeacherSignals
from limbeck.classify.teachers import Teacher
from limbeck.engine.gather import gathered
from limbeck.errors import TaskError
from limbeck.losses.standardise import standardise
from limbeck.models.outputs import logits_of
from limbeck.numerics.decay import cosine_decay
from limbeck.protocols import Batch, StepOutput
from limbeck.sources.loader import normalise
from limbeck.taps import Taps

LOGITS = ("student", "teacher")
MAPS = ("student_map", "teacher_map")
FEATURES = ("student_features", "teacher_features")
MAP_LISTS = ("student_maps", "teacher_maps")
OF_THE_BATCH = ("labels", "index")
CONSTANTS = ("cost", "margin")
INPUTS = frozenset({*LOGITS, *MAPS, *FEATURES, *MAP_LISTS, *OF_THE_BATCH, *CONSTANTS})
"""What a loss may name as its positional parameters."""

Reader = Callable[[Tensor], Tensor]

OWN_AVERAGE = "average"
"""Name of the teacher that is the student's own moving average."""


@dataclass(frozen=True)
class BoundTerm:
    """A term that can be computed.

    Attributes:
        name: in the records.
        loss: called with the inputs in order; a module is trained along.
        inputs: names out of `INPUTS`, in the order of the loss's parameters.
        weight: factor in the sum.
        student_taps: module paths in the student, for losses on features or maps.
        teacher_taps: in the teacher, one for each of the student's.
        student_readers: how each tap's tensor becomes the map or the vector that the loss takes.
        teacher_readers: likewise.
        projector: trainable map of the student's feature.
        teacher: whose logits and features; None takes the mean of all teachers' logits.
        view: which view of the images.
        standardised: whether logits are standardised first.
        relational: whether the loss relates samples to each other, and so needs the batch of all processes.
        warmup_epochs: epochs until the whole weight counts; None has it from the start.
        decay_start: share of training after which the weight decays to zero; None keeps it constant.
        constants: inputs that are the same for every batch, such as `cost`.
    """

    name: str
    loss: Callable[..., Tensor]
    inputs: tuple[str, ...]
    weight: float = 1.0
    student_taps: tuple[str, ...] = ()
    teacher_taps: tuple[str, ...] = ()
    student_readers: tuple[Reader, ...] = ()
    teacher_readers: tuple[Reader, ...] = ()
    projector: nn.Module | None = None
    teacher: str | None = None
    view: str = MAIN_VIEW
    standardised: bool = False
    relational: bool = False
    warmup_epochs: float | None = None
    decay_start: float | None = None
    constants: Mapping[str, Tensor] = field(default_factory=dict)

    def renamed(self, name: str) -> BoundTerm:
        """The same term under another name."""
        return replace(self, name=name)

    def read_student(self, found: Mapping[str, Tensor]) -> list[Tensor]:
        """The student's features out of what its taps found, by path."""
        return _read(self.student_readers, [found[path] for path in self.student_taps])

    def read_teacher(self, signals: Mapping[str, Tensor]) -> list[Tensor]:
        """The teacher's features out of its signals."""
        return _read(self.teacher_readers, [signals[f"{TAP_KEY}{path}"] for path in self.teacher_taps])

    def factor(self, epoch: int, epochs: float) -> float:
        """Share of the weight that counts in an epoch; constant within it."""
        total, factor = math.ceil(epochs), 1.0
        if self.warmup_epochs is not None:
            factor *= min(epoch / self.warmup_epochs, 1.0)
        if self.decay_start is not None and total > 1:  # within a single epoch there is nothing to decay
            factor *= cosine_decay(epoch, start=round(self.decay_start * total), total=total)
        return factor


class ClassifierRoot(nn.Module):
    """The one module that receives gradients: the student, the projectors and losses with weights.

    Args:
        student: images, normalised, to logits.
        terms: whose projectors and learned losses belong here.
        mean: of the student's input, by channel.
        std: likewise.
        average: the student's own moving average, if it teaches; it is kept in the checkpoints.
    """

    def __init__(
        self,
        student: nn.Module,
        terms: Sequence[BoundTerm],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        average: MovingTeacher | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.projectors = nn.ModuleDict({t.name: t.projector for t in terms if t.projector is not None})
        self.losses = nn.ModuleDict({t.name: t.loss for t in terms if isinstance(t.loss, nn.Module)})
        self.average = average
        self.mean, self.std = tuple(mean), tuple(std)
        self._still: tuple[nn.Module, ...] = ()
        self._terms = [t for t in terms if t.student_taps]
        self.taps = Taps(student, sorted({path for t in self._terms for path in t.student_taps}))

    def keep_in_eval(self, modules: Sequence[nn.Module]) -> None:
        """Modules with frozen weights, whose running statistics and dropout are to rest as well."""
        self._still = tuple(modules)

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but the frozen modules."""
        super().train(mode)
        for module in self._still:
            module.eval()
        return self

    def forward(self, views: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
        """For each view the logits under the key "" and each tapped term's (projected) features under its name."""
        return {view: self._outputs(view, images) for view, images in views.items()}

    def predict(self, images: Tensor) -> Tensor:
        """Logits for images in [0, 1]."""
        return logits_of(self.student(normalise(images, self.mean, self.std)))

    def _outputs(self, view: str, images: Tensor) -> dict[str, Any]:
        outputs: dict[str, Any] = {"": self.predict(images)}
        read = self.taps.take()
        for term in self._terms:
            if term.view == view:
                features = term.read_student(read)
                if term.name in self.projectors:
                    features = [self.projectors[term.name](feature) for feature in features]
                outputs[term.name] = features
        return outputs


class ClassifyTask:
    """Train a student on a sum of terms, with teachers or without.

    Args:
        student: the network to train.
        terms: at least one.
        mean: normalisation of the student's input.
        std: likewise.
        teachers: by name; needed as soon as a term mentions a teacher.
        signals: where a teacher's outputs come from instead of running it, by the teacher's name.
        average: the student's own moving average, if it teaches; its name is `OWN_AVERAGE`.

    Raises:
        TaskError: no terms, two of one name, or a term that needs what is not there.
    """

    def __init__(
        self,
        student: nn.Module,
        terms: Sequence[BoundTerm],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        teachers: Mapping[str, Teacher] | None = None,
        signals: Mapping[str, TeacherSignals] | None = None,
        average: MovingTeacher | None = None,
    ) -> None:
        teachers = dict(teachers or {})
        _check(terms, teachers)
        self.terms = tuple(terms)
        self.root = ClassifierRoot(student, terms, mean=mean, std=std, average=average)
        self.trainable: nn.Module = self.root
        self.views = tuple(dict.fromkeys(t.view for t in terms))
        heard = [name for name in teachers if any(listens(t) and t.teacher in (name, None) for t in terms)]
        self._signals: dict[str, TeacherSignals] = {
            name: (signals or {}).get(name) or LiveTeacher(teachers[name], self._paths(name)) for name in heard
        }
        self.frozen: Mapping[str, nn.Module] = {
            name: module
            for name in heard
            if name != OWN_AVERAGE  # which is in the checkpoints, under the root
            for module in self._signals[name].frozen.values()
        }
        self._factors = {t.name: 1.0 for t in terms}
        self._epoch = 1

    def start_epoch(self, epoch: int, epochs: float) -> None:
        """Set the weights of terms that grow or decay; constant within an epoch."""
        self._epoch = epoch
        self._factors = {t.name: t.factor(epoch, epochs) for t in self.terms}
        for signals in self._signals.values():
            signals.start_epoch(epoch)

    def step(self, batch: Batch) -> StepOutput:
        """Forward passes of student and teachers, and the weighted terms."""
        if self.root.average is not None:
            self.root.average.follow(self.root.student)
        # The teachers first: what they needed is free again before the student's activations take their place. The
        # other way round the C allocator gives the memory back and fetches it anew, a fifth of a step on a CPU.
        taught = {view: self._teach(view, batch) for view in self.views}
        outputs = self.trainable({view: batch[view] for view in self.views})
        shared = {"labels": batch.get("targets", batch["labels"]), "index": batch["index"]}
        terms: dict[str, Tensor] = {}
        for term in self.terms:
            value = self._value(term, shared, taught[term.view], outputs[term.view])
            terms[term.name] = term.weight * self._factors[term.name] * value
        loss = torch.stack(tuple(terms.values())).sum()
        return StepOutput(loss, {name: value.detach() for name, value in terms.items()})

    def close(self) -> None:
        """Take the hooks off all networks."""
        self.root.taps.close()
        for signals in self._signals.values():
            signals.close()

    def _paths(self, teacher: str) -> list[str]:
        return sorted({path for t in self.terms if t.teacher == teacher for path in t.teacher_taps})

    def _teach(self, view: str, batch: Batch) -> dict[str, Mapping[str, Tensor]]:
        """What each teacher that a term of this view listens to says about it."""
        wanted = [t for t in self.terms if t.view == view and listens(t)]
        names = self._signals if any(t.teacher is None for t in wanted) else {t.teacher for t in wanted}
        found: dict[str, Mapping[str, Tensor]] = {}
        for name in self._signals:
            if name in names:
                found[name] = self._signals[name].signals(batch[view], batch["index"], self._epoch)
        return found

    def _value(
        self,
        term: BoundTerm,
        shared: Mapping[str, Tensor],
        taught: Mapping[str, Mapping[str, Tensor]],
        outputs: Mapping[str, Any],
    ) -> Tensor:
        inputs = [self._input(name, term, shared, taught, outputs) for name in term.inputs]
        value = term.loss(*inputs)
        if value.dim() == 0 and not term.relational and _processes() > 1:
            raise TaskError(
                f"the term '{term.name}' gives one number for a batch, and under several processes it would see "
                "only its own part. Mark the loss with limbeck.losses.relational, and it is given the whole batch."
            )
        return value.mean()

    def _input(
        self,
        name: str,
        term: BoundTerm,
        shared: Mapping[str, Tensor],
        taught: Mapping[str, Mapping[str, Tensor]],
        outputs: Mapping[str, Any],
    ) -> Any:
        if name in term.constants:
            return term.constants[name]
        found = _of_this_batch(name, term, shared, taught, outputs)
        if not term.relational:
            return found
        return [gathered(one) for one in found] if isinstance(found, list) else gathered(found)


def _of_this_batch(
    name: str,
    term: BoundTerm,
    shared: Mapping[str, Tensor],
    taught: Mapping[str, Mapping[str, Tensor]],
    outputs: Mapping[str, Any],
) -> Any:
    """One input of a loss, of this process's images."""
    if name in shared:
        return shared[name]
    if name == "student" and not term.student_taps:
        return standardise(outputs[""]) if term.standardised else outputs[""]
    if name == "teacher" and not term.teacher_taps:
        said = taught.values() if term.teacher is None else [taught[term.teacher]]
        logits = torch.stack([one[LOGITS_KEY] for one in said])
        logits = logits.mean(0) if len(logits) > 1 else logits[0]
        return standardise(logits) if term.standardised else logits
    if name.startswith("student"):
        features: list[Tensor] = outputs[term.name]
    else:
        assert term.teacher is not None  # a term with taps names its teacher
        features = term.read_teacher(taught[term.teacher])
    return features if name in MAP_LISTS else features[0]


def _read(readers: Sequence[Reader], tensors: Sequence[Tensor]) -> list[Tensor]:
    return [read(t) for read, t in zip(readers, tensors, strict=True)] if readers else list(tensors)


def listens(term: BoundTerm) -> bool:
    """Whether a term needs to know what a teacher says."""
    return any(name.startswith("teacher") for name in term.inputs)


def _processes() -> int:
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if ready else 1


def _check(terms: Sequence[BoundTerm], teachers: Mapping[str, Teacher]) -> None:
    if not terms:
        raise TaskError("a task needs at least one term; without one nothing would be learnt.")
    names = [t.name for t in terms]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise TaskError(f"two terms are named '{twice[0]}'; give one of them another name.")
    for term in terms:
        unknown = [n for n in term.inputs if n not in INPUTS]
        if unknown:
            raise TaskError(
                f"the term '{term.name}' takes '{unknown[0]}', which a classification task cannot supply. "
                f"It supplies: {', '.join(sorted(INPUTS))}."
            )
        if not teachers and listens(term):
            raise TaskError(f"the term '{term.name}' compares with a teacher, and there is none.")
        if "cost" in term.inputs and "cost" not in term.constants:
            raise TaskError(
                f"the term '{term.name}' needs a ground cost between classes: cost: {{name: prototypes}}."
            )


def unique_names(names: Sequence[str]) -> list[str]:
    """Names in the records: a name that comes again gets a number.

    Example:
        >>> unique_names(["kd", "hint", "kd"])
        ['kd', 'hint', 'kd-2']
    """
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return found
