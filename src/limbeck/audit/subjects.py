"""The networks of an audit: each as pixels in [0, 1] to logits, behind its own size and normalisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.models.data_config import DataConfig
from limbeck.models.onnx_classifier import OnnxClassifier
from limbeck.models.outputs import logits_of
from limbeck.sources.loader import normalise

Role = Literal["teacher", "student", "control", "placebo", "foreign"]


class Network(nn.Module):
    """A classifier that takes images in [0, 1], so that networks can be compared on the same pixels.

    Args:
        model: takes normalised images of its own size; it is put in eval mode and keeps its gradients off.
        data: its size, normalisation and class names.

    Example:
        >>> import torch
        >>> data = DataConfig(input_shape=(1, 2, 2), mean=(0.5,), std=(0.5,))
        >>> network = Network(nn.Flatten(), data)
        >>> network(torch.ones(1, 1, 2, 2))
        tensor([[1., 1., 1., 1.]])
    """

    def __init__(self, model: nn.Module, data: DataConfig) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.data = data

    @property
    def differentiable(self) -> bool:
        """Whether it has gradients and layers; ONNX files have neither."""
        return not isinstance(self.model, OnnxClassifier)

    def prepared(self, images: Tensor) -> Tensor:
        """Images in [0, 1] as the model was trained on them; differentiable."""
        size = tuple(self.data.input_shape[1:])
        if tuple(images.shape[2:]) != size:
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
        return normalise(images, self.data.mean, self.data.std)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (n, classes), for images in [0, 1] of any size; differentiable in the images."""
        return logits_of(self.model(self.prepared(images)))


@dataclass(frozen=True, eq=False)
class Subject:
    """One network of an audit and its part in it.

    Attributes:
        name: unique within the audit: "teacher", "kd-s0", "control-s0".
        role: teacher, student (distilled), control (the same without a teacher), placebo (distilled from a teacher
            without the property) or foreign (not related to any).
        network: pixels to logits.
        method: how it was distilled; "control" for controls and empty for the teacher.
        seed: students and controls of one seed began with the same weights and saw the same images.
        layer: tap path in `network.model` of the map that attributions read; found unless given.
    """

    name: str
    role: Role
    network: Network
    method: str = ""
    seed: int | None = None
    layer: str | None = None


class Member(Protocol):
    """What statistics know of a network: its name and its part."""

    @property
    def name(self) -> str:
        """Unique within the audit."""
        ...

    @property
    def method(self) -> str:
        """How it was distilled."""
        ...

    @property
    def seed(self) -> int | None:
        """Of its training."""
        ...


class Members(Protocol):
    """Who is audited, whatever kind of network they are."""

    @property
    def teacher(self) -> Member:
        """Whose properties are looked for."""
        ...

    @property
    def students(self) -> Sequence[Member]:
        """Distilled from it."""
        ...

    @property
    def controls(self) -> Sequence[Member]:
        """Trained without it."""
        ...

    @property
    def methods(self) -> tuple[str, ...]:
        """Of the students."""
        ...


@dataclass(frozen=True, eq=False)
class Panel:
    """Who is audited.

    Attributes:
        teacher: whose properties are looked for.
        students: distilled from it, of one or several methods.
        controls: the same networks trained without it; without any no transfer can be claimed.
        foreign: a network that none of them has anything to do with, for specificity controls.
        placebos: students of another teacher, which lacks the property; their methods are named "placebo kd".
    """

    teacher: Subject
    students: tuple[Subject, ...]
    controls: tuple[Subject, ...] = ()
    foreign: Subject | None = None
    placebos: tuple[Subject, ...] = ()

    def __iter__(self) -> Iterator[Subject]:
        """Teacher, students, controls, placebos."""
        return iter((self.teacher, *self.learners))

    @property
    def learners(self) -> tuple[Subject, ...]:
        """Everyone but the teacher who learnt the same task: students, controls, placebos."""
        return (*self.students, *self.controls, *self.placebos)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the students, in the order in which they were given."""
        return tuple(dict.fromkeys(student.method for student in self.students))
