"""Tiny detectors of every family and batches for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limbeck.models.detectors import build_detector

SIDE = 64
PYRAMID = {"backbone": "timm/test_resnet", "fpn_channels": 32, "size": (SIDE, SIDE)}
DETECTORS: dict[str, dict[str, Any]] = {
    "small_ssd": {"size": (SIDE, SIDE)},
    "ssd": {"backbone": "timm/test_resnet", "size": (SIDE, SIDE), "extra_channels": 32},
    "retinanet": {**PYRAMID, "anchor_scale": 2.0},
    "fcos": PYRAMID,
    "fcos_bins": {**PYRAMID, "bins": 8},
    "faster_rcnn": {**PYRAMID, "box_channels": 32, "anchor_scale": 4.0, "sampled": 32, "proposals": 50},
}

Target = dict[str, Tensor]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that takes `name` runs for every family."""
    if "name" in metafunc.fixturenames and not any(
        "name" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")
    ):
        metafunc.parametrize("name", DETECTORS)


@pytest.fixture
def make() -> Callable[..., nn.Module]:
    """Build one of the tiny detectors."""

    def build(name: str, **settings: Any) -> nn.Module:
        torch.manual_seed(0)
        return build_detector(name.removesuffix("_bins"), num_classes=3, **{**DETECTORS[name], **settings})

    return build


@pytest.fixture
def batch() -> Callable[..., tuple[list[Tensor], list[Target]]]:
    """Pictures with so many objects each."""

    def draw(*counts: int, side: int = SIDE) -> tuple[list[Tensor], list[Target]]:
        generator = torch.Generator().manual_seed(1)
        images = [torch.rand(3, side, side, generator=generator) for _ in counts]
        targets = []
        for count in counts:
            corner = torch.rand(count, 2, generator=generator) * side / 2
            extent = side / 6 + torch.rand(count, 2, generator=generator) * side / 3
            labels = torch.randint(0, 3, (count,), generator=generator)
            numbers = torch.arange(count) + 10
            targets.append(
                {"boxes": torch.cat([corner, corner + extent], 1), "labels": labels, "objects": numbers}
            )
        return images, targets

    return draw
