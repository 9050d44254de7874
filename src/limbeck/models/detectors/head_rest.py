"""The rest of a dense head behind one of its convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import FCOS, RetinaNet

from limbeck.errors import ModelError
from limbeck.models.detectors.distributional_head import DistributionalHead, distances
from limbeck.models.detectors.families.sigmoid import FIRST_COLUMN
from limbeck.models.detectors.towers import BOX_TOWER, CLASS_TOWER, tower_blocks

Tower = Literal["classification", "regression"]


def head_rest(detector: nn.Module, tower: Tower, maps: Sequence[Tensor], after: int) -> Tensor:
    """What a head makes of feature maps that enter it behind its convolution number `after`.

    Cross-head distillation sends a student's maps through the rest of the teacher's head. Gradients flow into the
    maps.

    Args:
        detector: a RetinaNet or an FCOS.
        tower: which of the two.
        maps: (n, c, h, w) of each level, as `Dense.class_towers` or `Dense.box_towers` have them at place `after -
            1`.
        after: convolutions that the maps have behind them; 0 for the pyramid's own levels.

    Returns:
        Class logits (n, A, C), or box deltas (n, A, 4) as `Dense` has them. `side_rest` gives the distributions of
        a head that has them.

    Raises:
        ModelError: another family, or more convolutions than the tower has.
    """
    if tower == CLASS_TOWER:
        head: Any = _head(detector).classification_head
        logits = _rest(detector, tower, maps, after, head.cls_logits, head.num_classes)
        return logits[..., FIRST_COLUMN:]
    if isinstance(_head(detector), DistributionalHead):
        return distances(side_rest(detector, maps, after))
    deltas = _rest(detector, tower, maps, after, _head(detector).regression_head.bbox_reg, 4)
    return F.relu(deltas) if isinstance(detector, FCOS) else deltas


def side_rest(detector: nn.Module, maps: Sequence[Tensor], after: int) -> Tensor:
    """The same for the side distributions of an FCOS with bins: logits (n, A, 4, bins + 1).

    Raises:
        ModelError: a head without distributions.
    """
    head = _head(detector)
    if not isinstance(head, DistributionalHead):
        raise ModelError(
            f"the sides of this {type(detector).__name__} are no distributions; an fcos with bins has."
        )
    columns = head.regression_head.columns
    logits = _rest(detector, BOX_TOWER, maps, after, head.regression_head.bbox_reg, 4 * columns)
    return logits.view(*logits.shape[:2], 4, columns)


def before_activation(
    detector: nn.Module, tower: Tower, maps: Sequence[Tensor], number: int, *, after: int = 0
) -> list[Tensor]:
    """Maps behind one of a head's convolutions and its norm, but in front of its activation.

    Cross-head distillation compares and replaces statistics there. Activations work in place, so what stood in
    front of one is gone after a step, and that one convolution is computed again.

    Args:
        detector: a RetinaNet or an FCOS.
        tower: which of the two.
        maps: (n, c, h, w) of each level, with `after` convolutions behind them.
        number: of the convolution, from 0.
        after: 0 for the pyramid's own levels.

    Returns:
        (n, c, h, w) of each level.

    Raises:
        ModelError: another family, or no such convolution.
    """
    _head(detector)
    blocks = tower_blocks(detector, tower)
    if not after <= number < len(blocks):
        raise ModelError(f"the {tower} tower has convolutions {after} to {len(blocks) - 1}; there is no {number}.")
    layers = [layer for block in blocks[after : number + 1] for part in block for layer in _layers(part)]
    found = []
    for level in maps:
        for layer in layers[:-1]:
            level = layer(level)
        found.append(level)
    return found


def _layers(part: nn.Module) -> Sequence[nn.Module]:
    return list(part) if isinstance(part, nn.Sequential) else [part]


def _head(detector: nn.Module) -> Any:
    if not isinstance(detector, RetinaNet | FCOS):
        raise ModelError(f"the head of a {type(detector).__name__} has no towers; RetinaNet's and FCOS's have.")
    return detector.head


def _rest(
    detector: nn.Module, tower: str, maps: Sequence[Tensor], after: int, predictor: nn.Module, columns: int
) -> Tensor:
    blocks = tower_blocks(detector, tower)
    if not 0 <= after <= len(blocks):
        raise ModelError(
            f"the {tower} tower has {len(blocks)} convolutions; maps from behind number {after} do not fit."
        )
    rest = [layer for block in blocks[after:] for layer in block]
    outputs = []
    for level in maps:
        for layer in rest:
            level = layer(level)
        # (n, anchors * columns, h, w) -> (n, h * w * anchors, columns), as torchvision orders it
        predicted = predictor(level).permute(0, 2, 3, 1)
        outputs.append(predicted.reshape(len(level), -1, columns))
    return torch.cat(outputs, 1)
