"""Which images of a set are used: seeded, class-balanced choices that do not depend on anything else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.seeding import generator


def choose(
    labels: Tensor,
    class_names: Sequence[str],
    *,
    limit: int | None = None,
    per_class: int | None = None,
    seed: int = 0,
) -> Tensor | None:
    """Rows to keep, in their own order, or None for all.

    Args:
        labels: shape (n,), int64.
        class_names: for messages.
        limit: at most so many images, spread evenly over the classes.
        per_class: exactly so many images of each class.
        seed: another seed makes another choice.

    Raises:
        DataError: a class has too few images, or a number that chooses nothing.
    """
    if limit is None and per_class is None:
        return None
    for name, value in (("limit", limit), ("per_class", per_class)):
        if value is not None and value < 1:
            raise DataError(f"{name}: {value} chooses no image; it is at least 1.")
    rank = _rank_in_class(labels, len(class_names), seed)
    if per_class is not None:
        counts = torch.bincount(labels, minlength=len(class_names))
        fewest = int(counts.argmin())
        if int(counts[fewest]) < per_class:
            raise DataError(
                f"per_class: {per_class} images of each class were asked for, but class "
                f"'{class_names[fewest]}' has {int(counts[fewest])}. Ask for at most that."
            )
        rows = (rank < per_class).nonzero().flatten()
        rank, labels = rank[rows], labels[rows]
    else:
        rows = torch.arange(len(labels))
    if limit is not None and limit < len(rows):
        order = (rank * len(class_names) + labels).argsort(stable=True)
        rows = rows[order[:limit]].sort().values
    return rows


def hold_out(labels: Tensor, classes: int, share: float, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Split a set that has no splits of its own: the same share of every class, the same rows every time.

    Args:
        labels: shape (n,), int64.
        classes: number of classes.
        share: of each class to hold out.
        seed: another seed makes another split.

    Returns:
        Rows to keep and rows held out, each in their own order.
    """
    rank = _rank_in_class(labels, classes, seed)
    counts = torch.bincount(labels, minlength=classes)
    held = rank < (counts.double() * share).round().long()[labels]
    return (~held).nonzero().flatten(), held.nonzero().flatten()


def split_rows(labels: Tensor, classes: int, *, split: str, share: float, what: str) -> Tensor:
    """The rows of one split of a set that has no splits of its own.

    Raises:
        DataError: a share that leaves nothing for the split.
    """
    if not 0 <= share <= 1:
        raise DataError(f"test_share: {share} is not a share; it lies between 0 and 1.")
    kept, held = hold_out(labels, classes, share)
    rows = held if split == "test" else kept
    if len(rows) == 0:
        raise DataError(
            f"{what} has {len(labels)} images and no separate {split} split; test_share: {share} leaves none for "
            f"{split}. Choose a share between 0 and 1, or add a {split} split."
        )
    return rows


def _rank_in_class(labels: Tensor, classes: int, seed: int) -> Tensor:
    """Position of each image in a seeded shuffle of its own class, shape (n,)."""
    rank = torch.empty_like(labels)
    for label in range(classes):
        rows = (labels == label).nonzero().flatten()
        rank[rows] = torch.randperm(len(rows), generator=generator(seed, "selection", label))
    return rank
