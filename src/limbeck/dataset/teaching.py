"""Training a student on an image set: all of it at once, or its subsets one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from limbeck.dataset.formation import decode_seen
from limbeck.dataset.preprocess import Preprocess
from limbeck.dataset.students import Recipe, train_student
from limbeck.seeding import derive


@dataclass(frozen=True)
class Lesson:
    """What a student sees in one run.

    Attributes:
        images: (n, c, h, w), in the space of networks.
        targets: class indices (n,) or probabilities (n, classes).
        lr: learned rate, or None.
    """

    images: Tensor
    targets: Tensor
    lr: float | None = None


def cumulative(lessons: Sequence[Lesson]) -> list[Lesson]:
    """The lessons of a sequential student: each subset with all before it, at the rate that it learnt."""
    return [union(lessons[: i + 1], lessons[i].lr) for i in range(len(lessons))]


def union(lessons: Sequence[Lesson], lr: float | None) -> Lesson:
    """Several subsets as one; class indices become probabilities where others are."""
    soft = [lesson.targets for lesson in lessons if lesson.targets.is_floating_point()]
    targets = [lesson.targets for lesson in lessons]
    if soft:
        classes = soft[0].shape[1]
        targets = [t if t.is_floating_point() else nn.functional.one_hot(t, classes).to(soft[0]) for t in targets]
    return Lesson(torch.cat([lesson.images for lesson in lessons]), torch.cat(targets), lr)


def formed(lesson: Lesson, factor: int, preprocess: Preprocess) -> Lesson:
    """Stored images cut into factor x factor training images each (IDC)."""
    images, targets = decode_seen(lesson.images, lesson.targets, factor, preprocess)
    return Lesson(images, targets, lesson.lr)


def teach(
    model: nn.Module,
    lessons: Sequence[Lesson],
    recipe: Recipe,
    *,
    seed: int,
    mode: Literal["sequence", "union"] = "sequence",
) -> nn.Module:
    """Train a network, in place.

    Args:
        model: on the device of the images.
        lessons: the subsets, in order.
        recipe: how; each run of a sequence has the whole schedule and a new optimizer.
        seed: of order and augmentation.
        mode: "sequence" trains on the growing union, subset after subset (SeqMatch); "union" once, on everything.

    Returns:
        The model.
    """
    runs = cumulative(lessons) if mode == "sequence" else [union(lessons, lessons[-1].lr)]
    for number, lesson in enumerate(runs):
        rate = lesson.lr if recipe.learned_rate else None
        train_student(model, lesson.images, lesson.targets, recipe, seed=derive(seed, "run", number), lr=rate)
    return model
