"""Real data as flows see it: tensors in [-1, 1] on the device, or points drawn without end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.flow._registry import TARGETS
from limbeck.protocols import Batch, Source
from limbeck.seeding import generator, permutation, uniforms
from limbeck.specs import Spec

TARGET_EPOCH = 100
"""Batches that count as one epoch where data is drawn without end."""


@dataclass(frozen=True, eq=False)
class Images:
    """A finite set.

    Attributes:
        pixels: uint8, (n, c, h, w), on the device.
        labels: (n,) int64.
        class_names: in the order of the labels.
        fingerprint: of the source.
        flip: mirror half of the images, in training.
    """

    pixels: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    fingerprint: str
    flip: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def batch(self, index: Tensor, *, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
        """Images of some rows in [-1, 1] and their labels."""
        x = as_signed(self.pixels[index])
        if self.flip:
            mirrored = uniforms(index, seed=seed, epoch=epoch, draws=1)[:, 0] < 0.5
            x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
        return x, self.labels[index]

    def draw(self, count: int, *, seed: int) -> Tensor:
        """Random images without repeats, in [-1, 1], for comparisons; all of them where fewer are there."""
        return as_signed(self.pixels[self._drawn(count, seed)])

    def draw_labels(self, count: int, *, seed: int) -> Tensor:
        """Classes of the images that `draw` gives."""
        return self.labels[self._drawn(count, seed)]

    def _drawn(self, count: int, seed: int) -> Tensor:
        rows = torch.randperm(len(self), generator=generator(seed, "draw"))[:count]
        return rows.to(self.pixels.device)


@dataclass(frozen=True)
class Points:
    """A distribution in the plane.

    Attributes:
        target: by name with settings.
        device: of the points.
    """

    target: Spec
    device: torch.device

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Points are images of two channels and one place."""
        return (2, 1, 1)

    @property
    def class_names(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def fingerprint(self) -> str:
        """The name and its settings."""
        return f"{self.target.name} {sorted(self.target.settings.items())}"

    def draw(self, count: int, *, seed: int) -> Tensor:
        """Fresh points."""
        drawn: Tensor = TARGETS[self.target.name](count, generator(seed, "points"), **self.target.settings)
        return drawn.to(self.device)


Data = Images | Points


def images_of(source: Source, *, device: torch.device, flip: bool = False) -> Images:
    """A source as tensors.

    Raises:
        DataError: a source that streams its images.
    """
    pixels, labels = getattr(source, "images", None), getattr(source, "labels", None)
    if not isinstance(pixels, Tensor) or not isinstance(labels, Tensor):
        raise DataError(
            f"{type(source).__name__} reads its images one by one; flows keep them on the device. Give a "
            "size that "
            "fits, e.g. {name: folder, root: ..., size: 64}, or a Parquet source."
        )
    return Images(pixels.to(device), labels.to(device), tuple(source.class_names), source.fingerprint, flip)


def as_signed(pixels: Tensor) -> Tensor:
    """uint8 to [-1, 1]."""
    return pixels.float() / 127.5 - 1


def as_bytes(x: Tensor) -> Tensor:
    """[-1, 1] to uint8 as the paper stores images: trunc(clip(127.5 x + 128, 0, 255)).

    Example:
        >>> as_bytes(torch.tensor([-2.0, -1.0, 0.0, 1.0])).tolist()
        [0, 0, 128, 255]
    """
    return (x * 127.5 + 128).clamp(0, 255).to(torch.uint8)


class DataStream:
    """Batches of real data; every batch is a pure function of (seed, epoch, number).

    Args:
        data: images or points.
        batch_size: over all processes together.
        seed: of the order and of what is drawn.
        labelled: tell the classes of images.
        rank: of this process.
        world: how many there are.
    """

    def __init__(
        self, data: Data, *, batch_size: int, seed: int, labelled: bool = True, rank: int = 0, world: int = 1
    ) -> None:
        if isinstance(data, Images) and len(data) < world:
            raise DataError(f"{len(data)} images are too few for {world} processes.")
        size = min(batch_size, len(data)) if isinstance(data, Images) else batch_size
        if size % world:
            raise DataError(f"batch_size {size} cannot be shared by {world} processes.")
        self.data, self.batch_size, self._seed = data, size, seed
        self._labelled, self._rank, self._world = labelled, rank, world

    def __len__(self) -> int:
        return len(self.data) // self.batch_size if isinstance(self.data, Images) else TARGET_EPOCH

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch (counted from 1), from batch `start` on."""
        make = self._points if isinstance(self.data, Points) else partial(self._images, self._order(number))
        for place in range(start, len(self)):
            yield {**make(number, place), "number": (number - 1) * len(self) + place}

    def _order(self, number: int) -> Tensor:
        assert isinstance(self.data, Images)
        return permutation(len(self.data), self._seed, number).to(self.data.pixels.device)

    def _images(self, order: Tensor, number: int, place: int) -> dict[str, Any]:
        assert isinstance(self.data, Images)
        rows = order[place * self.batch_size : (place + 1) * self.batch_size][self._rank :: self._world]
        x, labels = self.data.batch(rows, seed=self._seed, epoch=number)
        return {"x": x, "labels": labels if self._labelled else None}

    def _points(self, number: int, place: int) -> dict[str, Any]:
        assert isinstance(self.data, Points)
        count = self.batch_size // self._world
        drawn = generator(self._seed, "points", number, place, self._rank)
        x = TARGETS[self.data.target.name](count, drawn, **self.data.target.settings)
        return {"x": x.to(self.data.device), "labels": None}
