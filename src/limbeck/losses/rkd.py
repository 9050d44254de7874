"""RKD: the distances and angles between the samples of a batch [park2019relational]."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.bounds import NonNegative
from limbeck.errors import ShapeError
from limbeck.losses._registry import relational
from limbeck.numerics.precision import no_autocast, promoted

SMALLEST_SQUARE = 1e-12
"""Squared distances are at least this large where they are to be compared, as in the released program."""
ANGLES_AT_ONCE = {"cpu": 2**17, "accelerator": 2**23}
"""How many of the n^3 angles are held at a time: what stays in a cache, and what keeps an accelerator busy."""


@relational
def rkd_distance(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    r"""Smooth L1 difference of the distances between samples, in units of their mean.

    .. math:: \ell = \frac{1}{n^2} \sum_{ij} h(d^s_{ij} / \bar d^s - d^t_{ij} / \bar d^t)

    with h the Huber function with threshold 1 and the mean over pairs of different samples.

    Args:
        student_features: vectors, shape (n, d).
        teacher_features: vectors, shape (n, d'); no gradient flows into them.

    Returns:
        A scalar, dimensionless; 0 for a batch of one. Samples that coincide are taken to be 1e-6 apart.

    Raises:
        ShapeError: no vectors, or of different numbers of samples.

    Example:
        >>> points = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
        >>> rkd_distance(points, 2 * points) < 1e-12
        tensor(True)

    References:
        Park et al., Relational Knowledge Distillation, CVPR 2019 [park2019relational], equation 5; weight 25.
    """
    return _rkd("rkd_distance", student_features, teacher_features, distance_weight=1.0, angle_weight=0.0)


@relational
def rkd_angle(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    r"""Smooth L1 difference of the cosines of all angles that three samples make.

    .. math:: \ell = \frac{1}{n^3} \sum_{ijk} h(\cos \angle^s_{ijk} - \cos \angle^t_{ijk})

    with the angle at j between i and k, and the cosine 0 where j coincides with one of them. The cosines follow
    from the distances alone, so neither n^3 numbers nor n^2 vectors are held, unless a second derivative is asked
    for.

    Args:
        student_features: vectors, shape (n, d).
        teacher_features: vectors, shape (n, d'); no gradient flows into them.

    Returns:
        A scalar, dimensionless; 0 for a batch of one.

    Raises:
        ShapeError: no vectors, or of different numbers of samples.

    Example:
        >>> points = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
        >>> rkd_angle(points, 2 * points + 1) < 1e-12
        tensor(True)

    References:
        Park et al., Relational Knowledge Distillation, CVPR 2019 [park2019relational], equation 8; weight 50.
    """
    return _rkd("rkd_angle", student_features, teacher_features, distance_weight=0.0, angle_weight=1.0)


@relational
def rkd(
    student_features: Tensor,
    teacher_features: Tensor,
    *,
    distance_weight: NonNegative = 25.0,
    angle_weight: NonNegative = 50.0,
) -> Tensor:
    """Both relations, weighted as published.

    The student's features may be turned, moved and scaled as a whole: only their shape counts. A weight of zero
    spares the work for its part.

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
    return _rkd(
        "rkd", student_features, teacher_features, distance_weight=distance_weight, angle_weight=angle_weight
    )


def _rkd(where: str, student: Tensor, teacher: Tensor, *, distance_weight: float, angle_weight: float) -> Tensor:
    if student.dim() != 2 or teacher.dim() != 2 or len(student) != len(teacher):
        raise ShapeError(
            f"{where}: expected vectors (n, d) of the same samples, got student_features {tuple(student.shape)} "
            f"and teacher_features {tuple(teacher.shape)}."
        )
    student, teacher = promoted(student, teacher.detach())
    squares, wanted = _squared_distances(student), _squared_distances(teacher)
    value = squares.sum() * 0  # what is left of a weight of zero and of a batch of one, with a graph
    if len(student) > 1 and distance_weight:
        distance = F.smooth_l1_loss(_relative_distances(squares), _relative_distances(wanted))
        value = value + distance_weight * distance
    if len(student) > 1 and angle_weight:
        value = value + angle_weight * _angle_differences(squares, wanted)
    return value.to(student.dtype)


def _squared_distances(points: Tensor) -> Tensor:
    """Squared distances between all pairs, shape (n, n), in float64 where the device has it.

    Products instead of differences, which would take n^2 vectors. The digits they lose far from the origin are
    made up for by moving the points to their centre and by the precision. Points as close as its rounding
    coincide.
    """
    if points.device.type != "mps":
        points = points.double()
    points = points - points.detach().mean(dim=0)
    with no_autocast(points):
        products = points @ points.T
    lengths = products.diagonal()
    sums = lengths[:, None] + lengths
    squares = sums - 2 * products
    rounding = 8 * torch.finfo(points.dtype).eps * points.shape[1] ** 0.5
    return squares.where(squares > rounding * sums.detach(), 0.0)


def _relative_distances(squares: Tensor) -> Tensor:
    pairs = len(squares) * (len(squares) - 1)
    distances = squares.clamp_min(SMALLEST_SQUARE).sqrt()
    distances = distances - distances.diagonal().diag()
    return distances / (distances.sum() / pairs)


def _angle_differences(student: Tensor, teacher: Tensor) -> Tensor:
    value: Tensor = _AngleDifferences.apply(student, teacher)
    return value


class _AngleDifferences(torch.autograd.Function):
    """Mean Huber difference of the cosines at all vertices, from two tables of squared distances.

    By the law of cosines, cos_jik = (D_ji + D_jk - D_ik) h_ji h_jk with h = (2 D)^-1/2. Some vertices j at a time;
    the gradient with respect to the student's D is found on the way, since it would take all cosines again.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        samples = len(student)
        inverse_student, inverse_teacher = _inverse_lengths(student), _inverse_lengths(teacher)
        gradient, total = torch.zeros_like(student), student.new_zeros(())
        at_once = ANGLES_AT_ONCE["cpu" if student.device.type == "cpu" else "accelerator"] // samples**2
        for first in range(0, samples, max(at_once, 1)):
            rows = slice(first, first + max(at_once, 1))
            inverse = inverse_student[rows]
            cosines = _cosines(student, inverse_student, rows)
            gaps = cosines - _cosines(teacher, inverse_teacher, rows)
            slopes = gaps.clamp(-1, 1)
            total += (slopes * gaps.sub_(slopes, alpha=0.5)).sum()
            if not ctx.needs_input_grad[0]:
                continue
            # Each D_ji belongs to two sides: those of the angles between i and k, and between k and i.
            gradient[rows] -= torch.einsum("jik,jik->ji", slopes, cosines) * 2 * inverse.square()
            slopes.mul_(inverse[:, :, None]).mul_(inverse[:, None, :])
            gradient[rows] += 2 * slopes.sum(dim=2)
            gradient -= slopes.sum(dim=0)
        ctx.save_for_backward(student, teacher, gradient / samples**3)
        return total / samples**3

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        student, teacher, gradient = ctx.saved_tensors
        if torch.is_grad_enabled():  # a derivative of the gradient is wanted, which needs a graph of all angles
            (gradient,) = torch.autograd.grad(_all_angle_differences(student, teacher), student, create_graph=True)
        return grad * gradient, None


def _all_angle_differences(student: Tensor, teacher: Tensor) -> Tensor:
    """The same in steps that autograd can follow twice."""
    cosines = []
    for squares in (student, teacher):
        inverse = _inverse_lengths(squares)
        sums = squares[:, :, None] + squares[:, None, :] - squares
        cosines.append(sums * inverse[:, :, None] * inverse[:, None, :])
    return F.smooth_l1_loss(cosines[0], cosines[1])


def _inverse_lengths(squares: Tensor) -> Tensor:
    apart = squares > 0
    return (2 * squares).where(apart, 1.0).rsqrt().where(apart, 0.0)


def _cosines(squares: Tensor, inverse: Tensor, rows: slice) -> Tensor:
    """Cosines of the angles at some vertices, shape (vertices, n, n)."""
    sums = squares[rows, :, None] + squares[rows, None, :]
    return sums.sub_(squares).mul_(inverse[rows, :, None]).mul_(inverse[rows, None, :])
