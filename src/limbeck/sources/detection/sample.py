"""An image with its boxes, as a source gives it and as augmentations change it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limbeck.protocols import DetectionSample

__all__ = ["DetectionSample", "View", "pixel_statistics", "training_view"]


@dataclass(frozen=True, slots=True)
class View:
    """What training sees of a sample.

    Attributes:
        image: uint8 (3, h, w).
        boxes: float32 (k, 4): x1, y1, x2, y2 in pixels of `image`.
        labels: int64 (k,).
        objects: int64 (k,), the number of each object in the source: a box that vanishes takes its number along.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor
    objects: Tensor

    @property
    def height(self) -> int:
        """Of the image, in pixels."""
        return int(self.image.shape[1])

    @property
    def width(self) -> int:
        """Of the image, in pixels."""
        return int(self.image.shape[2])

    def changed(self, image: Tensor, boxes: Tensor, kept: Tensor | None = None) -> View:
        """Another image and its boxes, of which only some are kept.

        Args:
            image: uint8 (3, h, w).
            boxes: float32 (k, 4), of all objects.
            kept: bool (k,); all unless given.
        """
        if kept is None:
            return replace(self, image=image, boxes=boxes)
        return View(image, boxes[kept], self.labels[kept], self.objects[kept])


def training_view(sample: DetectionSample, first: int) -> View:
    """A sample without its crowds, its objects numbered from `first` on, the crowds counted too."""
    objects = torch.arange(first, first + len(sample.boxes))
    view = View(sample.image, sample.boxes, sample.labels, objects)
    return view.changed(sample.image, sample.boxes, ~sample.crowd) if bool(sample.crowd.any()) else view


def pixel_statistics(images: Iterable[Tensor]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel, pixels in [0, 1], over images of any sizes; from counts of values.

    Args:
        images: uint8 (3, h, w) each.

    Example:
        >>> pixel_statistics([torch.full((3, 2, 2), 51, dtype=torch.uint8)])
        ((0.2, 0.2, 0.2), (1.0, 1.0, 1.0))
    """
    counts = torch.zeros(3, 256, dtype=torch.int64)
    for image in images:
        for row, channel in zip(counts, image, strict=True):
            row += torch.bincount(channel.reshape(-1), minlength=256)
    weights = counts.double() / counts.sum(1, keepdim=True)
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = weights @ values
    variance = (weights * (values - mean[:, None]) ** 2).sum(1)
    # An image of one value leaves rounding behind, not variation.
    std = torch.where(variance > 1e-12, variance.sqrt(), 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())
