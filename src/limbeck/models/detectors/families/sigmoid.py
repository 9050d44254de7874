"""Dense detectors with one yes or no for each class: RetinaNet and FCOS.

Their column 0 is never trained towards anything but no, because torchvision's labels start at 1; it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.models.detectors.families import dense
from limbeck.models.detectors.families.family import Family, Parts
from limbeck.models.detectors.seams import Recording, Seam
from limbeck.models.detectors.towers import BOX_TOWER, CLASS_TOWER, tower_blocks

FIRST_COLUMN = 1
_TOWERS = (CLASS_TOWER, BOX_TOWER)


def _record(detector: Any, recording: Recording) -> None:
    dense.record_loss(detector.head, recording)
    for tower in _TOWERS:
        for number, block in enumerate(tower_blocks(detector, tower)):
            recording.outputs(block[-1], f"{tower} {number}")


def _read_with(detector: Any, found: Mapping[str, Any], decode: dense.Decode) -> Parts:
    logits, deltas = dense.logits_and_deltas(found["outputs"])
    matched = torch.stack(found["matched"])
    anchors = found["anchors"]
    towers = (_by_level(found, CLASS_TOWER), _by_level(found, BOX_TOWER))
    return Parts(
        anchors=anchors,
        positives=dense.positives(logits, deltas, anchors, matched, decode, FIRST_COLUMN),
        dense=dense.dense(found["outputs"], anchors, matched, decode, FIRST_COLUMN, towers),
    )


def _by_level(found: Mapping[str, Any], tower: str) -> Sequence[Sequence[Tensor]]:
    """Outputs `[level][convolution]`; the same layers are called once for each level."""
    kept = [value for name, value in found.items() if name.startswith(f"{tower} ")]
    return list(zip(*kept, strict=True))


def _look_with(detector: Any, images: Any, features: Mapping[str, Tensor], decode: dense.Decode) -> Parts:
    levels = list(features.values())
    outputs = detector.head(levels)
    anchors = detector.anchor_generator(images, levels)
    return Parts(anchors=anchors, dense=dense.dense(outputs, anchors, None, decode, FIRST_COLUMN))


def _read_retinanet(detector: Any, found: Mapping[str, Any]) -> Parts:
    return _read_with(detector, found, detector.box_coder.decode_single)


def _look_retinanet(detector: Any, images: Any, features: Mapping[str, Tensor]) -> Parts:
    return _look_with(detector, images, features, detector.box_coder.decode_single)


def _read_fcos(detector: Any, found: Mapping[str, Any]) -> Parts:
    return _read_with(detector, found, detector.box_coder.decode)


def _look_fcos(detector: Any, images: Any, features: Mapping[str, Tensor]) -> Parts:
    return _look_with(detector, images, features, detector.box_coder.decode)


RETINANET_FAMILY = Family(
    name="RetinaNet",
    head="sigmoid",
    seams=(
        *dense.COMMON_SEAMS,
        Seam("head", "compute_loss", dense.LOSS_PARAMETERS),
        Seam("box_coder", "decode_single", ("rel_codes", "boxes")),
    ),
    class_layers="head.classification_head.cls_logits",
    anchor_generator="anchor_generator",
    record=_record,
    read=_read_retinanet,
    look=_look_retinanet,
)
FCOS_FAMILY = Family(
    name="FCOS",
    head="sigmoid",
    seams=(
        *dense.COMMON_SEAMS,
        Seam("head", "compute_loss", dense.LOSS_PARAMETERS),
        Seam("box_coder", "decode", ("rel_codes", "boxes")),
    ),
    class_layers="head.classification_head.cls_logits",
    anchor_generator="anchor_generator",
    record=_record,
    read=_read_fcos,
    look=_look_fcos,
)
