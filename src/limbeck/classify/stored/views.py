"""Which views of the images a store covers, and what makes two views the same.

A view is what the loader makes of one image: a pure function of the image's index, the epoch, the seed and the
augmentations. Without augmentation it depends on the index alone, and one pass serves every epoch and seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from limbeck.engine import Machine
from limbeck.protocols import Source
from limbeck.seeding import derive, uniforms
from limbeck.sources import AUGMENTS, Loader, loader_of
from limbeck.sources.augment import DRAWS
from limbeck.specs import Spec

VIEWS_VERSION = 1
"""Raised when the loader or an augmentation makes other views of the same settings."""


@dataclass(frozen=True)
class Views:
    """Views by seed and epoch.

    Attributes:
        seeds: of the students.
        epochs: counted from 1.
        augment: in order; none makes all views of an image the same.
    """

    seeds: tuple[int, ...]
    epochs: int
    augment: tuple[Spec, ...] = ()

    def passes(self) -> list[tuple[int | None, int | None]]:
        """Seed and epoch of every pass over the set; (None, None) for the one that serves all."""
        if not self.augment:
            return [(None, None)]
        return [(seed, epoch) for seed in self.seeds for epoch in range(1, self.epochs + 1)]

    def loader(
        self, source: Source, seed: int | None, *, batch_size: int, machine: Machine, workers: int = 0
    ) -> Loader:
        """The views of a training stream with this seed, in batches as that stream makes them.

        The last digits of a network's output depend on the images that share a batch, so a teacher that is given
        the batches of the student says the same to the bit as one that runs beside it.
        """
        return loader_of(source)(
            source,
            batch_size=batch_size,
            seed=stream_seed(seed or 0),
            shuffle=bool(self.augment),
            augment=[partial(AUGMENTS[a.name], **a.settings) for a in self.augment],
            source_views=True,
            workers=workers,
            device=machine.device,
        )


def stream_seed(seed: int) -> int:
    """The loader's seed of a student's training stream."""
    return derive(seed, "data")


def views_fingerprint(augment: Sequence[Spec]) -> dict[str, Any]:
    """What two streams must have in common to show the same views, beside seed and epoch.

    The digest is of uniform numbers as the loader draws them, so that another way of drawing is noticed.

    Args:
        augment: in order.
    """
    drawn = uniforms(torch.arange(16), seed=derive(stream_seed(0), "augment"), epoch=1, draws=DRAWS)
    return {
        "version": VIEWS_VERSION,
        "augment": [a.model_dump(mode="json") for a in augment],
        "draws": hashlib.sha256(drawn.numpy().tobytes()).hexdigest()[:16] if augment else None,
    }
