"""What is optimised when a classifier is trained or distilled: one root of trainable parts, a sum of terms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from limbeck.classify.teachers import Teacher, logits_of
from limbeck.errors import TaskError
from limbeck.numerics.decay import cosine_decay
from limbeck.protocols import Batch, StepOutput
from limbeck.sources.loader import normalise
from limbeck.taps import Taps

LOGITS = ("student", "teacher")
MAPS = ("student_map", "teacher_map")
FEATURES = ("student_features", "teacher_features")
INPUTS = frozenset({*LOGITS, *MAPS, *FEATURES, "labels", "cost"})
"""Names of loss parameters that a classification task can fill in."""


@dataclass(frozen=True)
class BoundTerm:
    """A loss with everything but the tensors of the batch.

    Attributes:
        name: in the records.
        loss: takes `inputs` as positional arguments.
        inputs: names out of `INPUTS`, in the order of the loss's parameters.
        weight: factor in the sum.
        student_tap: path whose output is the student's side; None takes the logits.
        teacher_tap: likewise for the teacher.
        projector: applied to the student's side.
        decay_start: share of the training after which the weight decays to zero; None keeps it constant.
        constants: inputs that are the same for every batch, such as `cost`.
    """

    name: str
    loss: Callable[..., Tensor]
    inputs: tuple[str, ...]
    weight: float = 1.0
    student_tap: str | None = None
    teacher_tap: str | None = None
    projector: nn.Module | None = None
    decay_start: float | None = None
    constants: Mapping[str, Tensor] = field(default_factory=dict)


class ClassifierRoot(nn.Module):
    """The one module that receives gradients: the student, the projectors and losses with weights.

    Args:
        student: images, normalised, to logits.
        terms: whose projectors and learned losses belong here.
        mean: of the student's input, by channel.
        std: likewise.
    """

    def __init__(
        self, student: nn.Module, terms: Sequence[BoundTerm], *, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.student = student
        self.projectors = nn.ModuleDict({t.name: t.projector for t in terms if t.projector is not None})
        self.losses = nn.ModuleDict({t.name: t.loss for t in terms if isinstance(t.loss, nn.Module)})
        self.mean, self.std = tuple(mean), tuple(std)
        self._paths = {t.name: t.student_tap for t in terms if t.student_tap is not None}
        self.taps = Taps(student, sorted(set(self._paths.values())))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits under the key "" and each tapped term's (projected) student side under its name."""
        outputs = {"": self.predict(images)}
        read = self.taps.take()
        for name, path in self._paths.items():
            feature = read[path]
            outputs[name] = self.projectors[name](feature) if name in self.projectors else feature
        return outputs

    def predict(self, images: Tensor) -> Tensor:
        """Logits for images in [0, 1]."""
        return logits_of(self.student(normalise(images, self.mean, self.std)))


class ClassifyTask:
    """Train a student on a sum of terms, with a teacher or without.

    Args:
        student: the network to train.
        terms: at least one.
        mean: normalisation of the student's input.
        std: likewise.
        teacher: needed as soon as a term mentions it.

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
        teacher: Teacher | None = None,
    ) -> None:
        _check(terms, teacher)
        self.terms = tuple(terms)
        self.root = ClassifierRoot(student, terms, mean=mean, std=std)
        self.trainable: nn.Module = self.root
        self.frozen: Mapping[str, nn.Module] = {"teacher": teacher.model} if teacher is not None else {}
        self._teacher = teacher if any("teacher" in name for t in terms for name in t.inputs) else None
        paths = sorted({t.teacher_tap for t in terms if t.teacher_tap is not None})
        self._teacher_taps = Taps(teacher.model, paths) if teacher is not None else None
        self._factors = {t.name: 1.0 for t in terms}

    def start_epoch(self, epoch: int, epochs: float) -> None:
        """Set the weights of terms that decay; constant within an epoch, zero at the last one."""
        for term in self.terms:
            total = math.ceil(epochs)
            if term.decay_start is not None and total > 1:  # within a single epoch there is nothing to decay
                start = round(term.decay_start * total)
                self._factors[term.name] = cosine_decay(epoch, start=start, total=total)

    def step(self, batch: Batch) -> StepOutput:
        """Forward passes of student and teacher, and the weighted terms."""
        images = batch["images"]
        # The teacher first: what it needed is free again before the student's activations take their place. The
        # other way round the C allocator gives the memory back and fetches it anew, a fifth of a step on a CPU.
        taught = self._teach(images)
        outputs = self.trainable(images)
        common = {"student": outputs[""], "labels": batch["labels"], **taught}
        terms: dict[str, Tensor] = {}
        for term in self.terms:
            value = term.loss(*(self._input(name, term, common, outputs) for name in term.inputs))
            terms[term.name] = term.weight * self._factors[term.name] * value.mean()
        loss = torch.stack(tuple(terms.values())).sum()
        return StepOutput(loss, {name: value.detach() for name, value in terms.items()})

    def close(self) -> None:
        """Take the hooks off both networks."""
        self.root.taps.close()
        if self._teacher_taps is not None:
            self._teacher_taps.close()

    def _teach(self, images: Tensor) -> dict[str, Tensor]:
        if self._teacher is None or self._teacher_taps is None:
            return {}
        logits = self._teacher(images)
        return {"teacher": logits, **{f"tap:{p}": v for p, v in self._teacher_taps.take().items()}}

    def _input(
        self, name: str, term: BoundTerm, common: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
    ) -> Tensor:
        if name in term.constants:
            return term.constants[name]
        if name.startswith("student") and term.student_tap is not None:
            return outputs[term.name]
        if name.startswith("teacher") and term.teacher_tap is not None:
            return common[f"tap:{term.teacher_tap}"]
        return common[name]


def _check(terms: Sequence[BoundTerm], teacher: Teacher | None) -> None:
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
        if teacher is None and any(n.startswith("teacher") for n in term.inputs):
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
