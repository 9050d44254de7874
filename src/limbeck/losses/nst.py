"""NST: the distribution of a layer's neuron patterns, compared by maximum mean discrepancy [huang2017like]."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.numerics.map_sizes import to_smaller
from limbeck.numerics.precision import no_autocast, promoted


def nst(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    r"""Squared discrepancy between the channels of two maps, each channel a pattern over positions.

    .. math::
        \ell_i = \frac{1}{c'^2} \sum_{kl} \langle t_k, t_l \rangle^2 + \frac{1}{c^2} \sum_{kl} \langle s_k, s_l
        \rangle^2 - \frac{2}{c c'} \sum_{kl} \langle s_k, t_l \rangle^2

    with s_k and t_l channels scaled to length one over positions. The squares of products are sums of squares of
    second moments, so the cost is that of two position-by-position or channel-by-channel matrices, whichever is
    smaller.

    Args:
        student_map: shape (n, c, h, w).
        teacher_map: shape (n, c', h', w'); the larger map is averaged to the size of the smaller. No gradient
            flows into it.

    Returns:
        One value per sample, dimensionless, shape (n,).

    Raises:
        ShapeError: no maps, or of different numbers of samples.

    Example:
        >>> import torch
        >>> nst(torch.ones(2, 3, 4, 4), torch.ones(2, 5, 4, 4)).abs().max() < 1e-5
        tensor(True)

    References:
        Huang, Wang, Like What You Like: Knowledge Distill via Neuron Selectivity Transfer, 2017 [huang2017like],
        with the polynomial kernel of degree 2. Weight 50 for a sum over stages in common programs.
    """
    if student_map.dim() != 4 or teacher_map.dim() != 4 or len(student_map) != len(teacher_map):
        raise ShapeError(
            f"nst: expected two maps (n, c, h, w) of the same samples, got student_map {tuple(student_map.shape)} "
            f"and teacher_map {tuple(teacher_map.shape)}."
        )
    s, t = (_patterns(x) for x in to_smaller(*promoted(student_map, teacher_map.detach())))
    with no_autocast(s):
        if s.shape[2] <= min(s.shape[1], t.shape[1]):
            # <M_s - M_t, M_s - M_t> with M the mean outer product of a map's patterns over positions.
            gap = s.mT @ s / s.shape[1] - t.mT @ t / t.shape[1]
            return gap.square().flatten(1).sum(dim=1)
        return _mean_square(t @ t.mT) + _mean_square(s @ s.mT) - 2 * _mean_square(s @ t.mT)


def _patterns(maps: Tensor) -> Tensor:
    return F.normalize(maps.flatten(2), dim=2)


def _mean_square(products: Tensor) -> Tensor:
    return products.square().flatten(1).mean(dim=1)
