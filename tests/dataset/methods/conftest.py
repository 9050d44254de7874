"""Grounds to begin from: three classes, 8 x 8 images, a network of width 4."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from limbeck.dataset.methods._base import Ground
from limbeck.dataset.preprocess import Normalisation, Preprocess
from limbeck.dataset.real import Real, Split
from limbeck.models import build
from limbeck.seeding import seed_everything

CLASSES, SIZE = 3, 8


def convnet(seed: int, **changes) -> nn.Module:
    seed_everything(seed, "weights")
    return build("convnet", depth=2, width=4, image_size=SIZE, num_classes=CLASSES, **changes)


@pytest.fixture
def ground() -> Callable[..., Ground]:
    """Fields of `Ground` that shall differ -> the ground; `preprocess`, `ipc` and `earlier` besides."""

    def make(
        *, preprocess: Preprocess | None = None, ipc: int = 2, earlier: int = 0, images: int = 36, **changes
    ) -> Ground:
        preprocess = preprocess or Normalisation((0.5,) * 3, (0.25,) * 3)
        draws = torch.Generator().manual_seed(0)
        labels = torch.arange(images) % CLASSES
        part = Split(preprocess.apply(torch.rand(images, 3, SIZE, SIZE, generator=draws)), labels)
        real = Real(part, part, part, preprocess, ("a", "b", "c"), "made up")
        mine = torch.arange(CLASSES).repeat_interleave(ipc)
        rows = torch.cat([real.rows[c][:ipc] for c in range(CLASSES)])
        frozen = None
        if earlier:
            before = torch.cat([real.rows[c][-earlier:] for c in range(CLASSES)])
            frozen = (part.images[before], labels[before])
        given = {
            "start": part.images[rows],
            "labels": mine,
            "real": real,
            "build": convnet,
            "seed": 5,
            "frozen": frozen,
        }
        return Ground(**{**given, **changes})

    return make
