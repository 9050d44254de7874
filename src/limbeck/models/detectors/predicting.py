"""The boxes that a detector finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def predict(detector: nn.Module, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:
    """Find objects, in eval mode and without gradients; the detector is left in the mode it was in.

    Args:
        detector: of any family.
        images: float, shape (3, h, w) each, in [0, 1], on the detector's device; sizes may differ.

    Returns:
        For each image `boxes`, float32 (k, 4) x1, y1, x2, y2 in its own pixels, `labels`, int64 (k,) of 0..C-1,
        and `scores` (k,), the most certain first.

    Example:
        >>> from limbeck.models.detectors import build_detector
        >>> found = predict(build_detector("small_ssd", num_classes=2, size=(64, 64)), [torch.rand(3, 40, 50)])
        >>> sorted(found[0]), int(found[0]["boxes"][:, 2].max()) <= 50
        (['boxes', 'labels', 'scores'], True)
    """
    modes = {module: module.training for module in detector.modules()}
    detector.eval()
    try:
        with torch.no_grad():
            found: list[dict[str, Any]] = detector(list(images))
    finally:
        for module, mode in modes.items():
            module.training = mode  # one by one: a backbone may be frozen in eval mode inside a training detector
    return [_outside(prediction) for prediction in found]


def _outside(prediction: dict[str, Tensor]) -> dict[str, Tensor]:
    """Labels from 0; what sigmoid families say of their unused column 0 is dropped."""
    kept = prediction["labels"] > 0
    return {
        "boxes": prediction["boxes"][kept].float(),
        "labels": prediction["labels"][kept] - 1,
        "scores": prediction["scores"][kept].float(),
    }
