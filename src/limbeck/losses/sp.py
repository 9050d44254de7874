"""SP: samples that are alike for the teacher should be alike for the student [tung2019similarity]."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.losses._registry import relational
from limbeck.numerics.precision import no_autocast, promoted


@relational
def sp(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    r"""Mean squared difference of two matrices of similarities between the samples of a batch.

    No projector is needed: the matrices are (n, n) whatever the networks. They get sharper with larger batches.

    .. math:: \ell = \frac{1}{n^2} |G^s - G^t|_F^2, \quad G = rows \; of \; F F^T \; scaled \; to \; length \; one

    Args:
        student_map: shape (n, ...), flattened to F.
        teacher_map: shape (n, ...); no gradient flows into it.

    Returns:
        A scalar, dimensionless.

    Raises:
        ShapeError: different numbers of samples.

    Example:
        >>> import torch
        >>> sp(torch.eye(3), 4 * torch.eye(3))
        tensor(0.)

    References:
        Tung, Mori, Similarity-Preserving Knowledge Distillation, ICCV 2019 [tung2019similarity], equations 1 to 4,
        on the last feature map. The paper's weight is 3000 beside the cross entropy.
    """
    if len(student_map) != len(teacher_map) or min(student_map.dim(), teacher_map.dim()) < 2:
        raise ShapeError(
            f"sp: expected features (n, ...) of the same samples, got student_map {tuple(student_map.shape)} and "
            f"teacher_map {tuple(teacher_map.shape)}."
        )
    student, teacher = promoted(student_map, teacher_map.detach())
    return (_similarities(student) - _similarities(teacher)).square().mean()


def _similarities(features: Tensor) -> Tensor:
    flat = features.flatten(1)
    with no_autocast(flat):
        return F.normalize(flat @ flat.T, dim=1)
