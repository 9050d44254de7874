"""Single-shot detectors with a background class: SSD and SSDLite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from limbeck.models.detectors.families import dense
from limbeck.models.detectors.families.family import Family, Parts
from limbeck.models.detectors.seams import Recording, Seam


def _record(detector: Any, recording: Recording) -> None:
    dense.record_loss(detector, recording)


def _read(detector: Any, found: Mapping[str, Any]) -> Parts:
    logits, deltas = dense.logits_and_deltas(found["outputs"])
    matched = torch.stack(found["matched"])
    anchors = found["anchors"]
    decode = detector.box_coder.decode_single
    return Parts(
        anchors=anchors,
        positives=dense.positives(logits, deltas, anchors, matched, decode, first_column=0),
        dense=dense.dense(found["outputs"], anchors, matched, decode, first_column=0),
    )


def _look(detector: Any, images: Any, features: Mapping[str, Tensor]) -> Parts:
    levels = list(features.values())
    outputs = detector.head(levels)
    anchors = detector.anchor_generator(images, levels)
    decode = detector.box_coder.decode_single
    return Parts(anchors=anchors, dense=dense.dense(outputs, anchors, None, decode, first_column=0))


SSD_FAMILY = Family(
    name="SSD",
    head="softmax",
    seams=(
        *dense.COMMON_SEAMS,
        Seam("", "compute_loss", dense.LOSS_PARAMETERS),
        Seam("box_coder", "decode_single", ("rel_codes", "boxes")),
    ),
    class_layers="head.classification_head",
    anchor_generator="anchor_generator",
    record=_record,
    read=_read,
    look=_look,
)
