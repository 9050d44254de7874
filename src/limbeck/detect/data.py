"""Images of a detection source, as networks take them."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.detect.config import SourceSpec
from limbeck.protocols import DetectionSource
from limbeck.sources.detection.building import build_detection


def picture(source: DetectionSource, place: int, device: torch.device) -> Tensor:
    """One image without augmentation: float32 (3, h, w) in [0, 1]."""
    return source[place].image.to(device).to(torch.float32) / 255


def split_of(spec: SourceSpec, split: str) -> DetectionSource:
    """A split of a source as a recipe names it."""
    return build_detection(spec.name, split=split, **spec.settings)  # type: ignore[arg-type]
