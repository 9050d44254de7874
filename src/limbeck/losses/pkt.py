"""PKT: the probability that two samples are neighbours, in teacher and student [passalis2018learning]."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.bounds import Positive
from limbeck.errors import ShapeError
from limbeck.losses._registry import relational
from limbeck.numerics.checks import require_above
from limbeck.numerics.precision import no_autocast, promoted


@relational
def pkt(student_features: Tensor, teacher_features: Tensor, *, eps: Positive = 1e-7) -> Tensor:
    r"""Divergence between two tables of neighbourhood probabilities, mean over their entries.

    .. math::
        \ell = \frac{1}{n^2} \sum_{ij} p^t_{ij} \log \frac{p^t_{ij} + \epsilon}{p^s_{ij} + \epsilon}, \quad
        p_{ij} = \frac{1 + \cos_{ij}}{\sum_k (1 + \cos_{ik})}

    Args:
        student_features: vectors, shape (n, d).
        teacher_features: vectors, shape (n, d'); no gradient flows into them.
        eps: keeps the logarithm finite, and lengths above zero; that of the released program.

    Returns:
        A scalar, in nats.

    Raises:
        ShapeError: no vectors, or of different numbers of samples.

    Example:
        >>> import torch
        >>> bool(pkt(torch.eye(3), 2 * torch.eye(3)).abs() < 1e-6)
        True

    References:
        Passalis, Tefas, Learning Deep Representations with Probabilistic Knowledge Transfer, ECCV 2018
        [passalis2018learning], with the cosine kernel. Weight 30000 in common programs. A vector of zeros has no
        gradient there that is a number; here it has the gradient zero.
    """
    if (
        student_features.dim() != 2
        or teacher_features.dim() != 2
        or len(student_features) != len(teacher_features)
    ):
        raise ShapeError(
            "pkt: expected vectors (n, d) of the same samples, got student_features "
            f"{tuple(student_features.shape)} and teacher_features {tuple(teacher_features.shape)}."
        )
    require_above("pkt", 0, eps=eps)
    student, teacher = promoted(student_features, teacher_features.detach())
    p_student, p_teacher = _neighbours(student, eps), _neighbours(teacher, eps)
    return (p_teacher * ((p_teacher + eps) / (p_student + eps)).log()).mean()


def _neighbours(points: Tensor, eps: float) -> Tensor:
    squares = points.square().sum(dim=1, keepdim=True)
    # The root of zero has no gradient. A row of zeros has no direction, as if it were infinitely long.
    directions = points / (squares.where(squares > 0, torch.inf).sqrt() + eps)
    with no_autocast(points):
        nearness = (directions @ directions.T + 1) / 2
    return nearness / nearness.sum(dim=1, keepdim=True)
