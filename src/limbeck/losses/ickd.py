"""ICKD: the correlations between the channels of a map, for each sample [liu2021exploring]."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.numerics.precision import no_autocast, promoted


def ickd(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    r"""Squared difference of two channel-by-channel matrices, rows scaled to length one, per sample.

    The student's map first passes a projector to the teacher's channels (`ConnectorProjector`); sizes may differ.

    .. math:: \ell_i = \frac{1}{c} |K(s_i) - K(t_i)|_F^2

    with K(f) the rows of f f^T scaled to length one, f of shape (c, positions).

    Args:
        student_map: projected map, shape (n, c, h, w).
        teacher_map: shape (n, c, h', w'); no gradient flows into it.

    Returns:
        One value per sample, dimensionless, shape (n,).

    Raises:
        ShapeError: no maps, or of different samples or channels.

    Example:
        >>> import torch
        >>> ickd(torch.ones(2, 3, 4, 4), torch.ones(2, 3, 2, 2)).abs().max() < 1e-5
        tensor(True)

    References:
        Liu et al., Exploring Inter-Channel Correlation for Diversity-Preserved Knowledge Distillation, ICCV 2021
        [liu2021exploring], ICKD-C. Weight 2.5 beside the cross entropy, on the last feature map.
    """
    if student_map.dim() != 4 or teacher_map.dim() != 4 or student_map.shape[:2] != teacher_map.shape[:2]:
        raise ShapeError(
            "ickd: expected two maps (n, c, h, w) of the same samples and channels, got student_map "
            f"{tuple(student_map.shape)} and teacher_map {tuple(teacher_map.shape)}. A projector on the student's "
            "side makes the channels equal (limbeck.losses.ConnectorProjector)."
        )
    student, teacher = promoted(student_map, teacher_map.detach())
    gap = _correlations(student) - _correlations(teacher)
    return gap.square().flatten(1).sum(dim=1) / student.shape[1]


def _correlations(maps: Tensor) -> Tensor:
    flat = maps.flatten(2)
    with no_autocast(flat):
        return F.normalize(flat @ flat.mT, dim=2)
