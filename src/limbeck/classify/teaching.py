"""Everyone who teaches in one stage: networks by name, the student's own average, outputs kept on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from limbeck.classify.data import Data, evaluation_stream
from limbeck.classify.teachers import Teacher
from limbeck.engine import Machine
from limbeck.engine.evaluate import Guesses, guesses
from limbeck.errors import ModelError

ONE = "teacher"
"""Name of a teacher that is the only one."""
ENOUGH_TO_TELL = 100
"""Test images below which a teacher's accuracy says too little to refuse it."""


@dataclass(frozen=True)
class Teaching:
    """Who teaches.

    Attributes:
        teachers: frozen networks by name.
        average: decay of the student's own moving average, if that teaches.
        stored: folder of the outputs to take instead of running the one teacher.
    """

    teachers: Mapping[str, Teacher] = field(default_factory=dict)
    average: float | None = None
    stored: Path | None = None

    def __bool__(self) -> bool:
        return bool(self.teachers) or self.average is not None

    def __call__(self, images: Tensor) -> Tensor:
        """Mean of the teachers' logits for images in [0, 1]."""
        logits = [teacher(images) for teacher in self.teachers.values()]
        return torch.stack(logits).mean(0) if len(logits) > 1 else logits[0]


def reference_of(teaching: Teaching, data: Data, machine: Machine) -> Guesses | None:
    """The teachers' class for every test image, for the agreement; None where there is no network to ask."""
    if not teaching.teachers:
        return None
    stream = evaluation_stream(data.test, machine=machine, whole=True)
    return guesses(teaching, stream, machine=machine, images=len(data.test))


def refuse_guessing(teaching: Teaching, reference: Guesses | None) -> None:
    """Make sure that a teacher knows more than how often each class occurs.

    Three standard errors above the share of the most frequent class are asked for, where there are test images
    enough to tell.

    Raises:
        ModelError: it does not.
    """
    if reference is None or len(reference.labels) < ENOUGH_TO_TELL:
        return
    share = float(reference.labels.bincount().max()) / len(reference.labels)
    error = (share * (1 - share) / len(reference.labels)) ** 0.5
    if reference.accuracy <= share + 3 * error:
        names = ", ".join(name for name in teaching.teachers if name != ONE)
        raise ModelError(
            f"teacher{f's {names}' if names else ''}: {reference.accuracy:.2%} of {len(reference.labels)} test "
            f"images are right, which is what guessing gives ({share:.2%} are of the most frequent class). Was "
            "the teacher trained, on these classes in this order, with this normalisation? To distil it "
            "nevertheless: weak_teacher: true."
        )
