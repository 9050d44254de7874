"""Where a detector looks when it finds an object: the gradient of its confidence in the pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limbeck.errors import ShapeError
from limbeck.numerics.boxes import pairwise_iou

CERTAIN = 1e-6
"""Scores are kept so far away from 0 and 1, where their logit ends."""


def gradient_maps(
    detector: nn.Module, images: Sequence[Tensor], boxes: Sequence[Tensor], labels: Sequence[Tensor], *, iou: float
) -> list[Tensor]:
    """What every pixel does to how certain a detector is of each object, found or almost.

    For each object the best-scored detection of its class that overlaps it by `iou` is taken, whatever its score,
    and the logit of its score differentiated in the image; the score's own gradient would vanish near 1.
    Non-maximum suppression and the choice of the best pick among scores and leave their gradient alone, so that
    this is the gradient of what the detector really puts out, in every family. Two-stage detectors crop their
    features at proposals that are held fixed.

    Args:
        detector: in eval mode, parameters frozen.
        images: float, shape (3, h, w) each, in [0, 1]; sizes may differ.
        boxes: objects of each image, shape (k, 4).
        labels: their classes from 0, shape (k,).
        iou: least overlap.

    Returns:
        For each image (k, 3, h, w) in the images' precision; all zero for an object without a detection.

    Raises:
        ShapeError: lists of different lengths.
    """
    if not len(images) == len(boxes) == len(labels):
        raise ShapeError(
            f"gradient_maps: {len(images)} images, {len(boxes)} lists of boxes and {len(labels)} of labels."
        )
    leaves = [image.detach().clone().requires_grad_() for image in images]
    maps = [image.new_zeros((len(own), *image.shape)) for image, own in zip(images, boxes, strict=True)]
    with torch.enable_grad():
        found = detector(leaves)
        scores = [_scores_of(one, own, wanted, iou) for one, own, wanted in zip(found, boxes, labels, strict=True)]
        # In eval mode no image of a batch depends on another, so that one pass back serves an object of each.
        turns = max((len(own) for own in scores), default=0)
        for turn in range(turns):
            there = {}
            for place, row in enumerate(scores):
                score = row[turn] if turn < len(row) else None
                if score is not None:
                    there[place] = score
            if not there:
                continue
            total = torch.stack(list(there.values())).sum()
            gradients = torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True)
            for place in there:
                gradient = gradients[place]
                if gradient is not None:
                    maps[place][turn] = gradient
    return maps


def _scores_of(found: dict[str, Tensor], boxes: Tensor, labels: Tensor, iou: float) -> list[Tensor | None]:
    """For each object the logit of the best detection's score, which has a graph, or None."""
    own = found["labels"][None] == labels[:, None].to(found["labels"]) + 1  # torchvision counts the background
    right = own & (pairwise_iou(boxes.to(found["boxes"]), found["boxes"].detach()) >= iou)
    ranked = found["scores"].detach().expand_as(right).masked_fill(~right, -1.0)
    chosen: list[Tensor | None] = []
    for row, any_right in zip(ranked, right.any(dim=1).tolist(), strict=True):
        chosen.append(torch.logit(found["scores"][row.argmax()], eps=CERTAIN) if any_right else None)
    return chosen


def mass(maps: Tensor, boxes: Tensor, cells: int) -> Tensor:
    """How much of a map lies in each cell of a box, by the integral of the map: no sampling, no pixel lost.

    Args:
        maps: shape (k, h, w); a map is constant within a pixel.
        boxes: x1, y1, x2, y2 in pixels, shape (k, 4); what lies outside the map has no mass.
        cells: a box is cut into so many along each side.

    Returns:
        Shape (k, cells, cells), float64.

    Example:
        >>> mass(torch.ones(1, 4, 4), torch.tensor([[-1.0, 0.0, 3.0, 4.0]]), 2)[0].tolist()
        [[2.0, 4.0], [2.0, 4.0]]
    """
    height, width = maps.shape[1:]
    total = torch.nn.functional.pad(maps.double(), (1, 0, 1, 0)).cumsum(dim=1).cumsum(dim=2)
    steps = torch.linspace(0, 1, cells + 1, dtype=torch.float64, device=maps.device)
    boxes = boxes.to(maps.device, torch.float64)
    x = (boxes[:, 0:1] + (boxes[:, 2:3] - boxes[:, 0:1]) * steps).clamp(0, width)
    y = (boxes[:, 1:2] + (boxes[:, 3:4] - boxes[:, 1:2]) * steps).clamp(0, height)
    rows = _between(total, y, dim=1)
    corners = _between(rows, x, dim=2)
    return corners.diff(dim=1).diff(dim=2)


def _between(total: Tensor, at: Tensor, *, dim: int) -> Tensor:
    """Values of an integral at fractional places along a dimension; linear between pixels, as it is."""
    low = at.floor().long().clamp(max=total.shape[dim] - 2)
    part = (at - low).unsqueeze(3 - dim)
    shape = list(total.shape)
    shape[dim] = at.shape[1]
    index = low.unsqueeze(3 - dim).expand(shape)
    return total.gather(dim, index) * (1 - part) + total.gather(dim, index + 1) * part
