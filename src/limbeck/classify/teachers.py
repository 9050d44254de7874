"""A frozen teacher with the facts that belong to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.errors import ModelError
from limbeck.models import DataConfig
from limbeck.models.outputs import logits_of
from limbeck.sources.loader import normalise


@dataclass(frozen=True)
class Teacher:
    """A network that teaches, and what its inputs look like.

    Attributes:
        model: in eval mode, without gradients.
        data: its normalisation, input shape and class names.
        example: two images in [0, 1], to probe it with.
        images: gives un-augmented training batches of images in [0, 1] with labels, for statistics.
    """

    model: nn.Module
    data: DataConfig
    example: Tensor
    images: Callable[[], Iterable[tuple[Tensor, Tensor]]]

    @property
    def classes(self) -> int:
        """How many classes it tells apart."""
        return self(self.example).shape[1]

    def __call__(self, images: Tensor) -> Tensor:
        """Logits for images in [0, 1] of any size, without gradient."""
        with torch.no_grad():
            return logits_of(self.model(self.prepared(images)))

    def prepared(self, images: Tensor) -> Tensor:
        """Images in [0, 1] as the teacher was trained on them: in its size and its normalisation."""
        size = tuple(self.data.input_shape[1:])
        if tuple(images.shape[2:]) != size:
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
        return normalise(images, self.data.mean, self.data.std)


def check_classes(teacher: Teacher, class_names: tuple[str, ...], example: Tensor) -> None:
    """Make sure that a teacher knows the classes of the data, in their order.

    Args:
        teacher: with its own class names, if it has any.
        class_names: those of the data.
        example: one batch of images in [0, 1].

    Raises:
        ModelError: other channels, another number of classes, or another order.
    """
    wants, gets = teacher.data.input_shape[0], example.shape[1]
    if wants != gets:
        raise ModelError(f"teacher and data: the teacher takes {wants} channels, the images have {gets}.")
    try:
        classes = teacher(example).shape[1]
    except RuntimeError as error:
        raise ModelError(
            f"teacher and data: the teacher cannot take images of shape {tuple(example.shape[1:])} ({error}). "
            f"It was made for {teacher.data.input_shape}; set size: {teacher.data.input_shape[1]} on the source."
        ) from error
    if classes != len(class_names):
        raise ModelError(
            f"teacher and data: the teacher has {classes} classes, the data {len(class_names)} "
            f"({', '.join(class_names[:4])}, ...). Train a teacher on these classes, or choose other data."
        )
    names = teacher.data.class_names
    if names and tuple(names) != class_names:
        at = next(i for i, (a, b) in enumerate(zip(names, class_names, strict=True)) if a != b)
        raise ModelError(
            f"teacher and data: class {at} is '{names[at]}' for the teacher and '{class_names[at]}' in the data. "
            "Both need the same classes in the same order."
        )
