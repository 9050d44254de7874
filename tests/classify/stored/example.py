"""A tiny teacher, a tiny set of images and a store of what the one says of the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from limbeck.classify.config import Training
from limbeck.classify.data import Data, split_data
from limbeck.classify.signals import LiveTeacher
from limbeck.classify.stages import as_teacher
from limbeck.classify.stored import Views, contents_of, write_store
from limbeck.classify.stored.writing import Written
from limbeck.classify.teachers import Teacher
from limbeck.engine import Machine
from limbeck.sources import build
from limbeck.specs import Spec

CLASSES = 10
BATCH = 8
SHIFT = (Spec(name="translate", pixels=1), Spec(name="rotate", degrees=10.0))
"""Augmentations with draws of their own."""


class Counting(nn.Module):
    """Convolution, pooling, linear; counts the images that it sees."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, CLASSES)
        self.seen = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        return self.fc(self.pool(self.relu(self.conv(images))).flatten(1))


def images(per_class: int = 3) -> Data:
    return split_data(
        build("digits", split="train", per_class=per_class), build("digits", split="test"), validation=0.0, seed=0
    )


def new_teacher(data: Data, machine: Machine, *, seed: int = 1, width: int = 6) -> Teacher:
    torch.manual_seed(seed)
    return as_teacher(Counting(width), data, machine)


def training(*, epochs: int = 2, augment: tuple[Spec, ...] = SHIFT, **settings: object) -> Training:
    return Training.model_validate({"epochs": epochs, "batch_size": BATCH, "augment": augment, **settings})


def store(
    folder: Path,
    teacher: Teacher,
    data: Data,
    machine: Machine,
    *,
    seeds: tuple[int, ...] = (0,),
    epochs: int = 2,
    augment: tuple[Spec, ...] = SHIFT,
    top: int | None = None,
    taps: tuple[str, ...] = (),
    dtype: str = "float32",
    batch_size: int = BATCH,
    extends: Path | None = None,
) -> Written:
    return write_store(
        folder,
        teacher=teacher,
        source=data.train,
        views=Views(seeds=seeds, epochs=epochs, augment=augment),
        contents=contents_of(teacher, top=top, taps=taps, dtype=dtype),
        machine=machine,
        batch_size=batch_size,
        extends=extends,
    )


def live(teacher: Teacher, batch: dict[str, torch.Tensor], taps: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
    """What a teacher that runs says of a batch."""
    running = LiveTeacher(teacher, taps)
    try:
        return running.signals(batch["images"], batch["index"], 1)
    finally:
        running.close()


@contextmanager
def never_running(teacher: Teacher) -> Iterator[Counting]:
    """The teacher's network, which sees no image inside the block."""
    model = teacher.model
    assert isinstance(model, Counting)
    before = model.seen
    yield model
    assert model.seen == before


def changed(teacher: Teacher, **facts: object) -> Teacher:
    """The same teacher with other facts about its input."""
    return replace(teacher, data=replace(teacher.data, **facts))
