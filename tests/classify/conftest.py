"""A tiny pair of networks on a tiny data set."""

from __future__ import annotations

import pytest
import torch
from torch import nn


class Tiny(nn.Module):
    """Convolution, pooling, linear: everything a tap or projector may want, in microseconds."""

    def __init__(self, width: int = 4, classes: int = 10, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(self.relu(self.norm(self.conv(images)))).flatten(1))


@pytest.fixture
def tiny() -> type[Tiny]:
    return Tiny


@pytest.fixture(scope="session")
def digits():
    from limbeck.classify.data import split_data
    from limbeck.sources import build

    return split_data(
        build("digits", split="train", per_class=4), build("digits", split="test"), validation=0.0, seed=0
    )


@pytest.fixture
def machine():
    from limbeck.engine import Machine

    return Machine(device="cpu")


@pytest.fixture
def teacher(tiny, digits, machine):
    from limbeck.classify.stages import as_teacher

    torch.manual_seed(1)
    return as_teacher(tiny(width=6), digits, machine)


@pytest.fixture
def pair(tiny, teacher, digits):
    from limbeck.classify.terms import Pair

    torch.manual_seed(2)
    images = digits.example(torch.device("cpu"), images=8)
    return Pair(
        tiny(),
        {"teacher": teacher},
        student_images=images,
        teacher_images={"teacher": images},
        classes=10,
        class_of=lambda: digits.train.labels,
    )
