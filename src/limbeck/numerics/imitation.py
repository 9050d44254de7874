"""Where on feature maps or among anchors a student imitates: masks and weights from the boxes of an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.numerics.boxes import centres, pairwise_diou, pairwise_iou


def imitation_mask(
    anchors: Tensor,
    boxes: Tensor,
    *,
    sizes: Sequence[tuple[int, int]],
    anchors_per_position: Sequence[int],
    fraction: float = 0.5,
) -> list[Tensor]:
    """FGFI's mask of one image: positions with an anchor that overlaps an object nearly as well as the best one.

    An object's threshold is `fraction` times its largest overlap with any anchor; the mask is the union over
    objects of the positions with an anchor above it. So each object, small or badly covered, has its region.

    Args:
        anchors: of all levels one after the other, shape (a, 4): level by level, row by row, the anchors of a
            position together, as torchvision's generators give them.
        boxes: of the objects, shape (k, 4), in the same units.
        sizes: (height, width) of each level.
        anchors_per_position: of each level.
        fraction: of the best overlap; 0.5 in the paper.

    Returns:
        One bool mask (h, w) a level; all False for an image without objects.

    Raises:
        ShapeError: another number of anchors than the levels have.

    Example:
        >>> anchors = torch.tensor([[0.0, 0.0, 2.0, 2.0], [2.0, 0.0, 4.0, 2.0]])
        >>> imitation_mask(anchors, torch.tensor([[0.0, 0.0, 2.0, 2.0]]), sizes=[(1, 2)], anchors_per_position=[1])
        [tensor([[ True, False]])]

    References:
        Wang et al., Distilling Object Detectors with Fine-grained Feature Imitation, CVPR 2019
        [wang2019distilling], section 3.2.
    """
    counts = [h * w * each for (h, w), each in zip(sizes, anchors_per_position, strict=True)]
    if sum(counts) != len(anchors):
        raise ShapeError(
            f"imitation_mask: {len(anchors)} anchors, but levels of {list(sizes)} with "
            f"{list(anchors_per_position)} anchors a position have {sum(counts)}."
        )
    overlaps = pairwise_iou(anchors, boxes.to(anchors))
    near = (overlaps > fraction * _largest(overlaps)).any(dim=1)
    return [
        part.reshape(h, w, each).any(dim=2)
        for part, (h, w), each in zip(near.split(counts), sizes, anchors_per_position, strict=True)
    ]


def box_mask(boxes: Tensor, *, size: tuple[int, int]) -> Tensor:
    """Positions of a map that lie, at least in part, inside any of the boxes.

    Args:
        boxes: shape (k, 4), relative to the image: from 0 to 1 along each side.
        size: height and width of the map.

    Returns:
        bool, shape (h, w).

    Example:
        >>> box_mask(torch.tensor([[0.0, 0.0, 0.5, 0.6]]), size=(2, 4))
        tensor([[ True,  True, False, False],
                [ True,  True, False, False]])
    """
    rows, columns = _covered(boxes, size, last=-1)
    return (rows[:, :, None] & columns[:, None, :]).any(dim=0)


def box_weights(boxes: Tensor, *, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """FGD's weights of one image: every object counts the same, whatever its size, and so does the background.

    A box is rounded outwards to whole positions, the last ones included, as in the released program. Its positions
    weigh 1 / (height * width) of it, where boxes overlap those of the smallest; the positions in no box weigh
    1 / their number.

    Args:
        boxes: shape (k, 4), relative to the image: from 0 to 1 along each side.
        size: height and width of the map.

    Returns:
        Weights of the foreground and of the background, each float of shape (h, w).

    Example:
        >>> foreground, background = box_weights(torch.tensor([[0.0, 0.0, 0.2, 0.9]]), size=(1, 4))
        >>> foreground, background
        (tensor([[0.2500, 0.2500, 0.0000, 0.0000]]), tensor([[0.0000, 0.0000, 0.5000, 0.5000]]))

    References:
        Yang et al., Focal and Global Knowledge Distillation for Detectors, CVPR 2022 [yang2022focal], equations 3
        and 4.
    """
    rows, columns = _covered(boxes, size, last=0)
    low, high = _corners(boxes, size)
    weight = 1 / (high - low + 1).prod(dim=1)
    inside = rows[:, :, None] & columns[:, None, :]
    none = weight.new_zeros(1, *size)  # so that a maximum over no boxes exists
    foreground = torch.cat((inside * weight[:, None, None], none)).amax(dim=0)
    background = (foreground == 0).to(foreground.dtype)
    return foreground, background / background.sum().clamp(min=1)


def atss_thresholds(anchors: Tensor, boxes: Tensor, *, counts: Sequence[int], nearest: int = 9) -> Tensor:
    """The overlap above which an anchor is a positive of an object, chosen for each object by ATSS.

    Mean plus standard deviation of the object's overlaps with the anchors of each level whose centres are nearest.

    Args:
        anchors: of all levels one after the other, shape (a, 4).
        boxes: of the objects, shape (k, 4), in the same units.
        counts: anchors of each level.
        nearest: anchors taken from each level; 9 in the paper.

    Returns:
        One threshold for each object, shape (k,).

    Raises:
        ShapeError: levels that do not add up to the anchors.

    Example:
        >>> anchors = torch.tensor([[0.0, 0.0, 2.0, 2.0], [2.0, 0.0, 4.0, 2.0]])
        >>> atss_thresholds(anchors, anchors[:1], counts=[2])
        tensor([1.2071])

    References:
        Zhang et al., Bridging the Gap Between Anchor-based and Anchor-free Detection via Adaptive Training Sample
        Selection, CVPR 2020 [zhang2020bridging], algorithm 1.
    """
    if sum(counts) != len(anchors):
        raise ShapeError(f"atss_thresholds: {len(anchors)} anchors, but levels of {list(counts)}.")
    boxes = boxes.to(anchors)
    overlaps = pairwise_iou(anchors, boxes)
    distances = (centres(anchors)[:, None] - centres(boxes)).square().sum(dim=2)
    chosen, start = [], 0
    for count in counts:
        level = distances[start : start + count]
        chosen.append(level.topk(min(nearest, count), dim=0, largest=False).indices + start)
        start += count
    candidates = overlaps.gather(0, torch.cat(chosen))
    mean = candidates.mean(dim=0)
    return mean + ((candidates - mean).square().sum(dim=0) / max(len(candidates) - 1, 1)).sqrt()


def valuable_region(anchors: Tensor, boxes: Tensor, *, thresholds: Tensor, fraction: float = 0.25) -> Tensor:
    """Anchors that are no positives but near enough to an object to know where it ends.

    Args:
        anchors: shape (a, 4).
        boxes: of the objects, shape (k, 4), in the same units.
        thresholds: of each object, shape (k,), e.g. from `atss_thresholds`.
        fraction: an anchor is in the region of an object if its DIoU is below the threshold and at least this
            fraction of it; 0.25 in the paper.

    Returns:
        bool, shape (a,): the union over objects. Anchors that the detector made positives may be among them (of
        another object); the losses leave them out.

    Example:
        >>> box = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
        >>> anchors = torch.tensor([[0.0, 0.0, 4.0, 4.0], [1.0, 0.0, 5.0, 4.0], [9.0, 9.0, 13.0, 13.0]])
        >>> valuable_region(anchors, box, thresholds=torch.tensor([0.8]))
        tensor([False,  True, False])

    References:
        Zheng et al., Localization Distillation for Dense Object Detection, CVPR 2022 [zheng2022localization],
        section 3.3 and algorithm 1.
    """
    overlaps = pairwise_diou(anchors, boxes.to(anchors))
    return ((overlaps < thresholds) & (overlaps >= fraction * thresholds)).any(dim=1)


def _largest(overlaps: Tensor) -> Tensor:
    """Of each object, shape (k,); also without anchors."""
    return overlaps.amax(dim=0) if len(overlaps) else overlaps.new_zeros(overlaps.shape[1])


def _corners(boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes rounded outwards to whole positions x, y: the first ones, and the ones behind the last."""
    scale = boxes.new_tensor([size[1], size[0]])
    return (boxes[:, :2] * scale).floor(), (boxes[:, 2:] * scale).ceil()


def _covered(boxes: Tensor, size: tuple[int, int], *, last: int) -> tuple[Tensor, Tensor]:
    """Rows (k, h) and columns (k, w) that each box covers; `last` moves the end of the box."""
    low, high = _corners(boxes, size)
    x = torch.arange(size[1], device=boxes.device)
    y = torch.arange(size[0], device=boxes.device)
    rows = (y >= low[:, 1:]) & (y <= high[:, 1:] + last)
    columns = (x >= low[:, :1]) & (x <= high[:, :1] + last)
    return rows, columns
