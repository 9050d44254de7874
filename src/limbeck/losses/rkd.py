"""RKD: the distances and angles between the samples of a batch [park2019relational]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.bounds import NonNegative
from limbeck.errors import ShapeError
from limbeck.losses._registry import relational
from limbeck.numerics.precision import no_autocast, promoted

SMALLEST_SQUARE = 1e-12
"""Squared distances are at least this large, so that the root has a gradient."""


@relational
def rkd_distance(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    r"""Smooth L1 difference of the distances between samples, in units of their mean.

    .. math:: \ell = \frac{1}{n^2} \sum_{ij} h(d^s_{ij} / \bar d^s - d^t_{ij} / \bar d^t)

    with h the Huber function with threshold 1 and the mean over positive distances.

    Args:
        student_features: vectors, shape (n, d).
        teacher_features: vectors, shape (n, d'); no gradient flows into them.

    Returns:
        A scalar, dimensionless; 0 for a batch of one.

    Raises:
        ShapeError: no vectors, or of different numbers of samples.

    Example:
        >>> points = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
        >>> rkd_distance(points, 2 * points)
        tensor(0.)

    References:
        Park et al., Relational Knowledge Distillation, CVPR 2019 [park2019relational], equation 5; weight 25.
    """
    student, teacher = _checked("rkd_distance", student_features, teacher_features)
    return F.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher))


@relational
def rkd_angle(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    r"""Smooth L1 difference of the cosines of all angles that three samples make.

    .. math:: \ell = \frac{1}{n^3} \sum_{ijk} h(\cos \angle^s_{ijk} - \cos \angle^t_{ijk})

    with the angle at j between i and k.

    Args:
        student_features: vectors, shape (n, d).
        teacher_features: vectors, shape (n, d'); no gradient flows into them.

    Returns:
        A scalar, dimensionless; 0 for a batch of one.

    Raises:
        ShapeError: no vectors, or of different numbers of samples.

    Example:
        >>> points = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
        >>> rkd_angle(points, 2 * points + 1) < 1e-6
        tensor(True)

    References:
        Park et al., Relational Knowledge Distillation, CVPR 2019 [park2019relational], equation 8; weight 50.
    """
    student, teacher = _checked("rkd_angle", student_features, teacher_features)
    return F.smooth_l1_loss(_cosines(student), _cosines(teacher))


@relational
def rkd(
    student_features: Tensor,
    teacher_features: Tensor,
    *,
    distance_weight: NonNegative = 25.0,
    angle_weight: NonNegative = 50.0,
) -> Tensor:
    """Both relations, weighted as published.

    The student's features may be turned, moved and scaled as a whole: only their shape counts.

    Args:
        student_features: vectors, shape (n, d).
        teacher_features: vectors, shape (n, d'); no gradient flows into them.
        distance_weight: of `rkd_distance`; 25 in common programs and in the paper for classification.
        angle_weight: of `rkd_angle`; 50 likewise.

    Returns:
        A scalar, dimensionless.

    Raises:
        ShapeError: no vectors, or of different numbers of samples.

    Example:
        >>> points = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
        >>> rkd(points, points)
        tensor(0.)

    References:
        Park et al., Relational Knowledge Distillation, CVPR 2019 [park2019relational], section 3.
    """
    distance = rkd_distance(student_features, teacher_features)
    return distance_weight * distance + angle_weight * rkd_angle(student_features, teacher_features)


def _checked(where: str, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    if student.dim() != 2 or teacher.dim() != 2 or len(student) != len(teacher):
        raise ShapeError(
            f"{where}: expected vectors (n, d) of the same samples, got student_features {tuple(student.shape)} "
            f"and teacher_features {tuple(teacher.shape)}."
        )
    student, teacher = promoted(student, teacher.detach())
    return student, teacher


def _relative_distances(points: Tensor) -> Tensor:
    if len(points) < 2:
        return points.new_zeros(len(points), len(points)) * points.sum()  # keeps the graph
    with no_autocast(points):
        lengths = points.square().sum(dim=1)
        squares = lengths[:, None] + lengths - 2 * (points @ points.T)
    away = 1 - torch.eye(len(points), device=points.device, dtype=points.dtype)
    distances = squares.clamp_min(SMALLEST_SQUARE).sqrt() * away
    return distances / (distances.sum() / away.sum())


def _cosines(points: Tensor) -> Tensor:
    """Cosines of the angles at each point, shape (n, n, n)."""
    directions = F.normalize(points - points[:, None], dim=2)
    with no_autocast(points):
        return directions @ directions.mT
