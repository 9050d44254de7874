"""The second stage of a detector on proposals of another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from limbeck.errors import ModelError


def rois(
    detector: nn.Module,
    features: Mapping[str, Tensor],
    proposals: Sequence[Tensor],
    image_sizes: Sequence[tuple[int, int]],
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a detector's box head on given proposals, as a teacher does on those of its student.

    Gradients flow as the caller's mode has it.

    Args:
        detector: a Faster R-CNN.
        features: its own, as in `Seen.features`.
        proposals: of each image, (r, 4) in pixels of the network's input.
        image_sizes: height and width of each image in the network's input, as in `Seen.sizes`.

    Returns:
        Logits (R, C+1), background first; box deltas, four columns a class; pooled features (R, c, s, s).

    Raises:
        ModelError: a detector of one stage.
    """
    if not isinstance(detector, FasterRCNN):
        raise ModelError(f"a {type(detector).__name__} has no second stage; Faster R-CNN has.")
    heads: Any = detector.roi_heads
    pooled: Tensor = heads.box_roi_pool(dict(features), list(proposals), list(image_sizes))
    logits, deltas = heads.box_predictor(heads.box_head(pooled))
    return logits, deltas, pooled
