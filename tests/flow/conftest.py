"""Recorded cases of the authors' programs, and the tiny networks they were recorded with."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F


@pytest.fixture
def recorded(shared: Path) -> Callable[[str], dict[str, Tensor]]:
    """Name of a file of golden/flow -> its arrays."""
    folder = shared / "golden/flow"

    def load(name: str) -> dict[str, Tensor]:
        with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
            return {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}

    return load


@pytest.fixture
def listed(shared: Path) -> Callable[[str], list[dict[str, object]]]:
    """Name of a file -> the cases inside it."""
    cases = json.loads((shared / "golden/flow/cases.json").read_text())["cases"]
    found = {case["file"]: case for case in cases}
    return lambda name: found[f"{name}.npz"]["cases"]


class RecordedNet(nn.Module):
    """conv(silu(conv(x) + f(t) U + c)), with f(t) = [t, sin 2 pi t, cos 2 pi t]."""

    NAMES = ("W1", "b1", "U", "c", "W2", "b2")

    def __init__(self, arrays: dict[str, Tensor], prefix: str = "net_") -> None:
        super().__init__()
        for name in self.NAMES:
            setattr(self, name, nn.Parameter(arrays[f"{prefix}{name}"].clone()))

    def forward(self, x: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        angle = 2 * math.pi * time
        told = torch.stack([time, angle.sin(), angle.cos()], dim=1) @ self.U.T + self.c
        hidden = F.silu(F.conv2d(x, self.W1, self.b1, padding=1) + told[:, :, None, None])
        return F.conv2d(hidden, self.W2, self.b2, padding=1)


@pytest.fixture
def recorded_net() -> type[RecordedNet]:
    return RecordedNet


@pytest.fixture
def stand_in() -> Callable[[dict[str, Tensor]], Callable[[Tensor, Tensor], Tensor]]:
    """The perceptual distance that stood in for LPIPS when the cases were recorded."""
    from limbeck.losses.feature_distance import feature_distance

    def make(arrays: dict[str, Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        given = {key.removeprefix("percep_"): value for key, value in arrays.items() if key.startswith("percep_")}

        def maps(images: Tensor) -> list[Tensor]:
            tall = F.interpolate(images, size=(224, 224), mode="bilinear", align_corners=False)
            seen = 2 * ((tall + 1) / 2) - 1
            first = F.relu(F.conv2d(seen, given["conv1_w"], given["conv1_b"], padding=1))
            second = F.relu(F.conv2d(F.avg_pool2d(first, 2), given["conv2_w"], given["conv2_b"], padding=1))
            return [first, second]

        return lambda a, b: feature_distance(maps(a), maps(b), weights=[given["lin1"], given["lin2"]])

    return make
