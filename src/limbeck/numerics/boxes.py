"""Boxes as corners x1, y1, x2, y2: area, clipping, overlap and its generalisations, all differentiable."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.numerics.precision import promoted

EPS = 1e-7
"""Smallest area or squared length that is divided by: a box without area overlaps with nothing."""


def area(boxes: Tensor) -> Tensor:
    """Width times height.

    Args:
        boxes: shape (..., 4).

    Returns:
        Shape (...), in squared units of the boxes.

    Example:
        >>> area(torch.tensor([[0.0, 0.0, 2.0, 3.0]]))
        tensor([6.])
    """
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def clip(boxes: Tensor, *, size: tuple[int, int]) -> Tensor:
    """Boxes cut at the borders of an image.

    Args:
        boxes: shape (..., 4), in pixels.
        size: height and width of the image.

    Returns:
        Shape (..., 4); a box outside the image has no area. A side that was moved has no gradient.

    Example:
        >>> clip(torch.tensor([[-2.0, 1.0, 9.0, 3.0]]), size=(4, 6))
        tensor([[0., 1., 6., 3.]])
    """
    height, width = size
    return torch.stack(
        (
            boxes[..., 0].clamp(0, width),
            boxes[..., 1].clamp(0, height),
            boxes[..., 2].clamp(0, width),
            boxes[..., 3].clamp(0, height),
        ),
        dim=-1,
    )


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of every box of one set with every box of another.

    Args:
        first: shape (a, 4).
        second: shape (b, 4).

    Returns:
        Shape (a, b), from 0 to 1; 0 where both have no area.

    Raises:
        ShapeError: sets that are not (a, 4) and (b, 4).

    Example:
        >>> pairwise_iou(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0]]))
        tensor([[0.3333]])
    """
    first, second = _pairs("pairwise_iou", first, second)
    return _overlap(first, second)[0]


def pairwise_diou(first: Tensor, second: Tensor) -> Tensor:
    """`diou` of every box of one set with every box of another.

    Args:
        first: shape (a, 4).
        second: shape (b, 4).

    Returns:
        Shape (a, b), from -1 to 1.

    Raises:
        ShapeError: sets that are not (a, 4) and (b, 4).

    Example:
        >>> pairwise_diou(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0]]))
        tensor([[0.2564]])
    """
    return _distance_iou(*_pairs("pairwise_diou", first, second))


def giou(first: Tensor, second: Tensor) -> Tensor:
    r"""Generalised intersection over union of boxes, one by one.

    .. math:: \frac{|A \cap B|}{|A \cup B|} - \frac{|C| - |A \cup B|}{|C|}

    with C the smallest box around both: boxes that do not meet are told how far they are apart.

    Args:
        first: shape (..., 4).
        second: shape (..., 4).

    Returns:
        Shape (...), from -1 to 1, at least float32.

    Raises:
        ShapeError: other shapes, or shapes that differ.

    Example:
        >>> giou(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[2.0, 0.0, 3.0, 1.0]]))
        tensor([-0.3333])

    References:
        Rezatofighi et al., Generalized Intersection over Union, CVPR 2019 [rezatofighi2019generalized].
    """
    first, second = _aligned("giou", first, second)
    iou, union = _overlap(first, second)
    hull = area(_hull(first, second))
    return iou - (hull - union) / hull.clamp(min=EPS)


def diou(first: Tensor, second: Tensor) -> Tensor:
    r"""Distance intersection over union of boxes, one by one.

    .. math:: \frac{|A \cap B|}{|A \cup B|} - \frac{d^2}{g^2}

    with d the distance of the centres and g the diagonal of the smallest box around both.

    Args:
        first: shape (..., 4).
        second: shape (..., 4).

    Returns:
        Shape (...), from -1 to 1, at least float32.

    Raises:
        ShapeError: other shapes, or shapes that differ.

    Example:
        >>> diou(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0]]))
        tensor([0.2564])

    References:
        Zheng et al., Distance-IoU Loss, AAAI 2020 [zheng2020distance].
    """
    return _distance_iou(*_aligned("diou", first, second))


def centres(boxes: Tensor) -> Tensor:
    """Middle points x, y.

    Args:
        boxes: shape (..., 4).

    Returns:
        Shape (..., 2).
    """
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _pairs(where: str, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    if first.dim() != 2 or second.dim() != 2 or first.shape[1] != 4 or second.shape[1] != 4:
        raise ShapeError(
            f"{where}: expected boxes (a, 4) and (b, 4), got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    first, second = promoted(first, second)
    return first[:, None], second[None]


def _aligned(where: str, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    if first.shape != second.shape or first.shape[-1:] != (4,):
        raise ShapeError(
            f"{where}: expected two equal shapes (..., 4), got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    first, second = promoted(first, second)
    return first, second


def _overlap(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union, and the union."""
    corner = torch.maximum(first[..., :2], second[..., :2])
    sides = (torch.minimum(first[..., 2:], second[..., 2:]) - corner).clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    union = area(first) + area(second) - shared
    return shared / union.clamp(min=EPS), union


def _hull(first: Tensor, second: Tensor) -> Tensor:
    low, high = torch.minimum(first[..., :2], second[..., :2]), torch.maximum(first[..., 2:], second[..., 2:])
    return torch.cat((low, high), dim=-1)


def _distance_iou(first: Tensor, second: Tensor) -> Tensor:
    hull = _hull(first, second)
    diagonal = (hull[..., 2:] - hull[..., :2]).square().sum(dim=-1)
    distance = (centres(first) - centres(second)).square().sum(dim=-1)
    return _overlap(first, second)[0] - distance / diagonal.clamp(min=EPS)
