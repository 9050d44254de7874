"""The stacks of convolutions in the heads of RetinaNet and FCOS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

CLASS_TOWER = "classification"
BOX_TOWER = "regression"


def tower_blocks(detector: Any, tower: str) -> list[Sequence[nn.Module]]:
    """A tower's convolutions, each with the norm and the activation behind it; none where a head has no tower.

    RetinaNet's tower is a sequence of such blocks, that of FCOS a flat sequence of their layers. What the last
    layer of a block returns is the block's output.
    """
    head = getattr(getattr(detector, "head", None), f"{tower}_head", None)
    layers = getattr(head, "conv", None)
    if not isinstance(layers, nn.Sequential):
        return []
    blocks: list[list[nn.Module]] = []
    for layer in layers:
        if isinstance(layer, nn.Sequential | nn.Conv2d) or not blocks:
            blocks.append([])
        blocks[-1].append(layer)
    return [tuple(block) for block in blocks]
