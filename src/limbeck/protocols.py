"""The shapes that layers agree on, so that a lower layer can call an upper one without importing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

Batch = dict[str, Any]
"""What a loader yields: `images` (n, c, h, w), `labels` (n,) int64, `index` (n,) int64, on one device."""


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What a task gives back for one batch.

    Attributes:
        loss: scalar to be differentiated.
        terms: every weighted term by name, detached, for the records; they sum to `loss`.
    """

    loss: Tensor
    terms: Mapping[str, Tensor]


class Task(Protocol):
    """What is optimised in one stage."""

    trainable: nn.Module
    """One root for everything that receives a gradient: student, projectors, learned weights of losses."""
    frozen: Mapping[str, nn.Module]
    """Teachers: moved to the device, in eval mode, never wrapped, optimised or checkpointed."""

    def step(self, batch: Batch) -> StepOutput:
        """Loss and terms of one batch."""
        ...

    def start_epoch(self, epoch: int, epochs: float) -> None:
        """Called before each epoch (counted from 1), for weights that follow a schedule."""
        ...


@runtime_checkable
class Source(Protocol):
    """Where samples come from: map-style, with the facts that belong to the data."""

    @property
    def class_names(self) -> Sequence[str]:
        """In the order of the labels."""
        ...

    @property
    def mean(self) -> Sequence[float]:
        """Mean of each channel, with pixels in [0, 1]."""
        ...

    @property
    def std(self) -> Sequence[float]:
        """Standard deviation of each channel."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width of every image."""
        ...

    @property
    def fingerprint(self) -> str:
        """Short digest of the data, for provenance."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One image as uint8 (c, h, w) and its label."""
        ...


@dataclass(frozen=True, slots=True)
class DetectionSample:
    """One image with its objects.

    Attributes:
        image: uint8 (3, h, w), RGB.
        boxes: float32 (k, 4): x1, y1, x2, y2 in pixels of `image`.
        labels: int64 (k,), 0 to C - 1 in the order of the class names.
        crowd: bool (k,): regions that training leaves out and evaluation ignores.
        image_id: of the data set.
        areas: float32 (k,): what an object covers, in pixels of `image`.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    image_id: int
    areas: Tensor


@runtime_checkable
class DetectionSource(Protocol):
    """Where images with boxes come from: map-style, with the facts that belong to the data."""

    @property
    def class_names(self) -> Sequence[str]:
        """In the order of the labels."""
        ...

    @property
    def category_ids(self) -> Sequence[int]:
        """The data set's own number of each class, in the same order."""
        ...

    @property
    def mean(self) -> Sequence[float]:
        """Mean of each channel, with pixels in [0, 1]."""
        ...

    @property
    def std(self) -> Sequence[float]:
        """Standard deviation of each channel."""
        ...

    @property
    def fingerprint(self) -> str:
        """Short digest of the data, for provenance."""
        ...

    @property
    def skipped(self) -> Mapping[str, int]:
        """Why boxes or images were left out -> how many."""
        ...

    @property
    def box_counts(self) -> Sequence[int]:
        """Objects of each image, crowds included; an object's number is that of its place in this sequence."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> DetectionSample:
        """One image with its objects."""
        ...


class Stream(Protocol):
    """Batches whose order and augmentation are pure functions of (seed, epoch, index)."""

    batch_size: int

    def __len__(self) -> int:
        """Batches an epoch."""
        ...

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch (counted from 1), from batch `start` on."""
        ...


class Records(Protocol):
    """Where numbers go while training runs."""

    path: Path

    def write_scalars(self, values: Mapping[str, float]) -> None:
        """Append one line of numbers."""
        ...

    def truncate_scalars(self, step: int) -> None:
        """Drop the lines after a step, when training goes back to its checkpoint."""
        ...


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage is told beside its own configuration: how to run, not what to do.

    Attributes:
        seed: the run's seed.
        inputs: name of an earlier stage or path, as written in the recipe -> folder or file of the artefact.
        device: a torch device string, or None to take what Accelerate finds.
        smoke: the run only tries out whether everything fits together, so nothing is to be expected of a teacher.
        progress: shows progress on a terminal; False in pipelines and tests.
    """

    seed: int
    inputs: Mapping[str, Path]
    device: str | None = None
    progress: bool = False
    smoke: bool = False
