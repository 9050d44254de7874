"""The real images that a small set shall stand for, on the device, as networks see them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from limbeck.dataset.preprocess import Normalisation, Preprocess, fit_whitening
from limbeck.errors import DataError
from limbeck.protocols import Source
from limbeck.seeding import generator

_CHUNK = 4096


@dataclass(frozen=True)
class Split:
    """Images in the space of the networks.

    Attributes:
        images: (n, c, h, w), float32.
        labels: (n,), int64.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Real:
    """A data set with its split for choosing and its split for reporting.

    Attributes:
        train: what is distilled.
        validation: held out of the training images; chooses epochs, rates, iterations.
        test: only ever reported.
        preprocess: how pixels became what the splits hold.
        class_names: in the order of the labels.
        fingerprint: digest of the source.
    """

    train: Split
    validation: Split | None
    test: Split
    preprocess: Preprocess
    class_names: tuple[str, ...]
    fingerprint: str

    @property
    def classes(self) -> int:
        """How many."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.train.images.device

    @cached_property
    def rows(self) -> tuple[Tensor, ...]:
        """Training rows of each class."""
        found = tuple((self.train.labels == c).nonzero()[:, 0] for c in range(self.classes))
        for name, rows in zip(self.class_names, found, strict=True):
            if not len(rows):
                raise DataError(f"class '{name}' has no training image; a small set needs some of every class.")
        return found

    def batch(self, label: int, size: int, *, generator: torch.Generator) -> Tensor:
        """Random real images of one class, at most as many as there are, without repeats.

        Args:
            label: the class.
            size: how many.
            generator: on the CPU.
        """
        rows = self.rows[label]
        return self.train.images[rows[torch.randperm(len(rows), generator=generator)[:size].to(rows.device)]]

    @property
    def choosing(self) -> Split:
        """The validation split.

        Raises:
            DataError: none was held out, and the test split may not stand in.
        """
        if self.validation is None:
            raise DataError(
                "something is to be chosen, but no images were held out to choose by: validation: 0.1."
            )
        return self.validation


def as_real(
    train: Source,
    test: Source,
    *,
    whiten: bool,
    validation: float,
    seed: int,
    device: torch.device,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Real:
    """Two splits of a source as tensors.

    Args:
        train: held in memory.
        test: likewise.
        whiten: ZCA instead of channel statistics; fitted on the training images.
        validation: share of the training images held out.
        seed: which ones.
        device: where the images shall be.
        mean: of each channel; the source's unless given.
        std: likewise.

    Raises:
        DataError: sources that stream, classes or sizes that differ, a share that holds nothing.
    """
    if tuple(train.class_names) != tuple(test.class_names) or train.image_shape != test.image_shape:
        raise DataError(
            f"train and test differ: {len(train.class_names)} classes of {train.image_shape} images against "
            f"{len(test.class_names)} classes of {test.image_shape} images."
        )
    pixels, labels = _held(train)
    rows = torch.randperm(len(labels), generator=generator(seed, "validation"))
    held = round(validation * len(labels))
    if validation and not 0 < held < len(labels):
        raise DataError(f"validation: {validation} of {len(labels)} training images leaves {held} held out.")
    chosen, learnt = rows[:held].sort().values, rows[held:].sort().values
    preprocess: Preprocess = Normalisation(mean or tuple(train.mean), std or tuple(train.std))
    if whiten:
        preprocess = fit_whitening(_fractions(pixels[learnt]))
    test_pixels, test_labels = _held(test)

    def split(images: Tensor, targets: Tensor) -> Split:
        parts = [preprocess.apply(_fractions(part)) for part in images.split(_CHUNK)]
        return Split(torch.cat(parts).to(device), targets.to(device))

    return Real(
        train=split(pixels[learnt], labels[learnt]),
        validation=split(pixels[chosen], labels[chosen]) if held else None,
        test=split(test_pixels, test_labels),
        preprocess=preprocess.to(device),
        class_names=tuple(train.class_names),
        fingerprint=train.fingerprint,
    )


def _held(source: Source) -> tuple[Tensor, Tensor]:
    images, labels = getattr(source, "images", None), getattr(source, "labels", None)
    if not isinstance(images, Tensor) or not isinstance(labels, Tensor):
        raise DataError(
            f"{type(source).__name__} reads its images one by one; data-set distillation keeps the whole set in "
            "memory. Give a size that fits, e.g. {name: folder, root: ..., size: 64}, or a Parquet source."
        )
    return images, labels


def _fractions(pixels: Tensor) -> Tensor:
    return pixels.float() / 255
