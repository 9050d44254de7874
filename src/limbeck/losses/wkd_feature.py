"""WKD-F: Wasserstein distance between feature maps seen as Gaussians [lv2024wasserstein]."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.bounds import NonNegative, Positive, PositiveInt
from limbeck.errors import ShapeError
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.gaussian import full_moments, moment_gaps
from limbeck.numerics.precision import no_autocast, promoted


def wkd_feature(
    student_map: Tensor,
    teacher_map: Tensor,
    *,
    grid: PositiveInt = 1,
    mean_weight: NonNegative = 4.0,
    eps: Positive = 1e-5,
) -> Tensor:
    r"""Squared 2-Wasserstein distance of diagonal Gaussians over pixels, its mean part weighted, per sample.

    Each channel is described by its mean and deviation over the pixels of a cell, so the student need not put
    activations in the same places. Its map first passes a projector (`ConvProjector`, `BottleneckProjector`).

    .. math:: \ell = \frac{1}{G} \sum_{g,k} \gamma (\mu^S_{gk} - \mu^T_{gk})^2 + (\sigma^S_{gk} - \sigma^T_{gk})^2

    over G cells and all channels k: a sum over channels, to which the published weights belong.

    Args:
        student_map: projected feature map, shape (n, c, h, w).
        teacher_map: feature map, shape (n, c, h, w); no gradient flows into it.
        grid: cells along each side; 1 for the whole map. Cells overlap where the grid does not divide the size.
        mean_weight: factor of the mean part (gamma); 1 is the plain distance.
        eps: added to variances before the root, > 0.

    Returns:
        One value per sample, in squared units of the activations, shape (n,).

    Raises:
        ShapeError: maps differ in shape, or a cell would be a single pixel.

    Example:
        >>> maps = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> wkd_feature(maps + 0.5, maps, mean_weight=4.0)
        tensor([1.])

    References:
        Lv, Yang, Li, NeurIPS 2024 [lv2024wasserstein]. Defaults: CIFAR-100, ResNet-32x4 to ResNet-8x4; the
        ImageNet settings use grid 4 and mean weight 2.
    """
    require_same("wkd_feature", "n c h w", student_map=student_map, teacher_map=teacher_map)
    require_above("wkd_feature", 0, eps=eps, grid=grid)
    student, teacher = promoted(student_map, teacher_map.detach())
    try:
        mean_gap, deviation_gap = moment_gaps(student, teacher, grid=grid, eps=eps)
    except ShapeError as error:
        raise ShapeError(f"wkd_feature: {error}") from None
    return mean_weight * mean_gap + deviation_gap


def wkd_feature_full(student_map: Tensor, teacher_map: Tensor, *, mean_weight: NonNegative = 1.0) -> Tensor:
    r"""Squared 2-Wasserstein distance of Gaussians with full covariance over pixels, per sample.

    The closed form with matrix square roots breaks down on deep maps, which have fewer pixels than channels.
    With centred maps A (teacher) and B (student), of m pixels, the same number is

    .. math:: \gamma |\mu_S - \mu_T|^2 + \frac{1}{m} \left( |A|_F^2 + |B|_F^2 - 2 \|A^\top B\|_* \right)

    which needs only the singular values of an m x m matrix (the nuclear norm) and is safe for any rank.

    Args:
        student_map: projected feature map, shape (n, c, h, w).
        teacher_map: feature map, shape (n, c, h, w); no gradient flows into it.
        mean_weight: factor of the mean part (gamma); 1 is the plain distance.

    Returns:
        One value per sample, in squared units of the activations, shape (n,).

    Raises:
        ShapeError: maps differ in shape.

    Example:
        >>> maps = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> wkd_feature_full(maps + 0.5, maps).round(decimals=4)
        tensor([0.2500])

    References:
        The paper's general form [lv2024wasserstein]; covariances here have the divisor m.
    """
    require_same("wkd_feature_full", "n c h w", student_map=student_map, teacher_map=teacher_map)
    student, teacher = promoted(student_map, teacher_map.detach())
    with no_autocast(student):
        (mean_s, b), (mean_t, a) = full_moments(student), full_moments(teacher)
        nuclear: Tensor = torch.linalg.svdvals(a.mT @ b).sum(dim=1)
        spread = (a.square().sum(dim=(1, 2)) + b.square().sum(dim=(1, 2)) - 2 * nuclear) / a.shape[2]
        return mean_weight * (mean_s - mean_t).square().sum(dim=1) + spread
