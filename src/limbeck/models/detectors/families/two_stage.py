"""Two-stage detectors: Faster R-CNN and what is derived from it.

Positives are the sampled positive proposals of the second stage. The sampler draws at random, so it is listened to
and never called a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from limbeck.models.detectors.families.family import Family, Parts
from limbeck.models.detectors.seams import Recording, Seam
from limbeck.models.detectors.seen import Positives, Proposals


def _record(detector: Any, recording: Recording) -> None:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def select_training_samples(proposals: Any, targets: Any) -> Any:
            samples = original(proposals, targets)
            recording.found["samples"] = samples
            return samples

        return select_training_samples

    recording.around(detector.roi_heads, "select_training_samples", wrap)
    recording.output(detector.rpn.anchor_generator, "anchors")
    recording.output(detector.roi_heads.box_roi_pool, "pooled")
    recording.output(detector.roi_heads.box_predictor, "predicted")


def _read(detector: Any, found: Mapping[str, Any]) -> Parts:
    proposals, matched, labels, _ = found["samples"]
    logits, deltas = found["predicted"]
    label = torch.cat(labels)
    rows = torch.where(label > 0)[0]
    column = label[rows]
    by_class = deltas.reshape(len(logits), -1, 4)
    chosen = by_class[rows, column if by_class.shape[1] > 1 else 0]
    if chosen.dtype in (torch.float16, torch.bfloat16):
        chosen = chosen.float()
    counts = torch.tensor([len(boxes) for boxes in proposals], device=label.device)
    image = torch.arange(len(counts), device=label.device).repeat_interleave(counts, output_size=len(label))
    return Parts(
        anchors=found["anchors"],
        positives=Positives(
            image=image[rows],
            object=torch.cat(matched)[rows],
            logits=logits[rows],
            boxes=detector.roi_heads.box_coder.decode_single(chosen, torch.cat(proposals)[rows]),
        ),
        proposals=Proposals(boxes=list(proposals), labels=label, logits=logits, pooled=found["pooled"]),
    )


def _look(_detector: Any, _images: Any, _features: Mapping[str, Tensor]) -> Parts:
    """Nothing behind the backbone: which proposals to look at is for the student to say."""
    return Parts(anchors=None)


FASTER_RCNN_FAMILY = Family(
    name="Faster R-CNN",
    head="softmax",
    seams=(
        Seam("transform", "forward", ("images", "targets")),
        Seam("rpn.anchor_generator", "forward", ("image_list", "feature_maps")),
        Seam("roi_heads", "select_training_samples", ("proposals", "targets")),
        Seam("roi_heads.box_coder", "decode_single", ("rel_codes", "boxes")),
        Seam("roi_heads.box_roi_pool", "forward", ("x", "boxes", "image_shapes")),
    ),
    class_layers="roi_heads.box_predictor",
    anchor_generator="rpn.anchor_generator",
    record=_record,
    read=_read,
    look=_look,
)
