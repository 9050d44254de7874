"""Where a task gets what the teacher says of a batch: from the network itself, or from a store of its outputs.

A task asks for the signals of a view and does not know which of the two answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from torch import Tensor, nn

from limbeck.classify.teachers import Teacher
from limbeck.taps import Taps

LOGITS_KEY = "teacher"
"""Key of the logits among the signals."""
TAP_KEY = "tap:"
"""What stands before the path of a tapped feature among the signals."""


class TeacherSignals(Protocol):
    """What a teacher says of the images of a batch."""

    @property
    def frozen(self) -> Mapping[str, nn.Module]:
        """Networks that have to be kept frozen on the device; none where nothing runs."""
        ...

    def start_epoch(self, epoch: int) -> None:
        """Called before the batches of an epoch, counted from 1."""
        ...

    def signals(self, images: Tensor, index: Tensor, epoch: int) -> dict[str, Tensor]:
        """Logits and tapped features of one batch.

        Args:
            images: augmented views in [0, 1], shape (n, c, h, w).
            index: of the images in the training set, shape (n,), int64.
            epoch: counted from 1.

        Returns:
            `teacher`: logits (n, C); `tap:<path>`: the feature of each tap; on the images' device and without
            gradient.
        """
        ...

    def close(self) -> None:
        """Let go of hooks and files."""
        ...


class LiveTeacher:
    """A teacher that runs for every batch.

    Args:
        teacher: on the device of the batches.
        taps: module paths to read besides the logits.

    Raises:
        TapError: a path that matches no module.
    """

    def __init__(self, teacher: Teacher, taps: Iterable[str] = ()) -> None:
        self._teacher = teacher
        self._taps = Taps(teacher.model, sorted(set(taps)))

    @property
    def frozen(self) -> Mapping[str, nn.Module]:
        """The teacher's network."""
        return {"teacher": self._teacher.model}

    def start_epoch(self, epoch: int) -> None:
        """Nothing to prepare."""

    def signals(self, images: Tensor, index: Tensor, epoch: int) -> dict[str, Tensor]:
        """Run the teacher; `index` and `epoch` do not matter.

        Args:
            images: augmented views in [0, 1], shape (n, c, h, w).
            index: of the images in the training set, shape (n,), int64.
            epoch: counted from 1.
        """
        logits = self._teacher(images)
        return {LOGITS_KEY: logits, **{f"{TAP_KEY}{path}": value for path, value in self._taps.take().items()}}

    def close(self) -> None:
        """Take the hooks off the teacher."""
        self._taps.close()
