"""Divergences between feature maps as diagonal Gaussians, beside that of WKD-F [lv2024wasserstein]."""

from __future__ import annotations

from torch import Tensor

from limbeck.bounds import Positive, PositiveInt
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.gaussian import channel_moments
from limbeck.numerics.precision import promoted


def gaussian_kl(
    student_map: Tensor, teacher_map: Tensor, *, grid: PositiveInt = 1, eps: Positive = 1e-5
) -> Tensor:
    r"""Kullback-Leibler divergence of the student's channel Gaussians from the teacher's, per sample.

    .. math:: \ell = \frac{1}{2G} \sum_{g,k} \frac{\sigma_T^2 + (\mu_T - \mu_S)^2}{\sigma_S^2} - 1
        + 2 \ln \frac{\sigma_S}{\sigma_T}

    Args:
        student_map: projected feature map, shape (n, c, h, w).
        teacher_map: feature map, shape (n, c, h, w); no gradient flows into it.
        grid: cells along each side, as in `wkd_feature`.
        eps: added to variances, > 0; dead channels make small values explode.

    Returns:
        One value per sample, in nats, shape (n,).

    Raises:
        ShapeError: maps differ in shape, or a cell would be a single pixel.

    Example:
        >>> import torch
        >>> maps = torch.arange(8.0).reshape(1, 2, 2, 2)
        >>> gaussian_kl(maps, maps)
        tensor([0.])

    References:
        An alternative to WKD-F [lv2024wasserstein].
    """
    mean_s, deviation_s, mean_t, deviation_t = _moments("gaussian_kl", student_map, teacher_map, grid, eps)
    return _kl(mean_t, deviation_t, mean_s, deviation_s)


def gaussian_symmetric_kl(
    student_map: Tensor, teacher_map: Tensor, *, grid: PositiveInt = 1, eps: Positive = 1e-5
) -> Tensor:
    r"""Mean of the Kullback-Leibler divergences of channel Gaussians in both directions, per sample.

    Args:
        student_map: projected feature map, shape (n, c, h, w).
        teacher_map: feature map, shape (n, c, h, w); no gradient flows into it.
        grid: cells along each side, as in `wkd_feature`.
        eps: added to variances, > 0.

    Returns:
        One value per sample, in nats, shape (n,).

    Raises:
        ShapeError: maps differ in shape, or a cell would be a single pixel.

    Example:
        >>> import torch
        >>> maps = torch.arange(8.0).reshape(1, 2, 2, 2)
        >>> gaussian_symmetric_kl(maps, maps)
        tensor([0.])

    References:
        An alternative to WKD-F [lv2024wasserstein].
    """
    mean_s, deviation_s, mean_t, deviation_t = _moments(
        "gaussian_symmetric_kl", student_map, teacher_map, grid, eps
    )
    there, back = (
        _kl(mean_t, deviation_t, mean_s, deviation_s),
        _kl(mean_s, deviation_s, mean_t, deviation_t),
    )
    return (there + back) / 2


def gaussian_bhattacharyya(
    student_map: Tensor, teacher_map: Tensor, *, grid: PositiveInt = 1, eps: Positive = 1e-5
) -> Tensor:
    r"""Bhattacharyya distance between channel Gaussians, per sample.

    .. math:: \ell = \frac{1}{G} \sum_{g,k} \frac{(\mu_T - \mu_S)^2}{8 \bar\sigma^2}
        + \frac12 \ln \frac{\bar\sigma^2}{\sigma_T \sigma_S}, \quad
        \bar\sigma^2 = \tfrac12 (\sigma_T^2 + \sigma_S^2)

    Args:
        student_map: projected feature map, shape (n, c, h, w).
        teacher_map: feature map, shape (n, c, h, w); no gradient flows into it.
        grid: cells along each side, as in `wkd_feature`.
        eps: added to variances, > 0.

    Returns:
        One value per sample, dimensionless, shape (n,).

    Raises:
        ShapeError: maps differ in shape, or a cell would be a single pixel.

    Example:
        >>> import torch
        >>> maps = torch.arange(8.0).reshape(1, 2, 2, 2)
        >>> gaussian_bhattacharyya(maps, maps)
        tensor([0.])

    References:
        An alternative to WKD-F [lv2024wasserstein].
    """
    mean_s, deviation_s, mean_t, deviation_t = _moments(
        "gaussian_bhattacharyya", student_map, teacher_map, grid, eps
    )
    middle = (deviation_s.square() + deviation_t.square()) / 2
    distance = (mean_t - mean_s).square() / (8 * middle)
    return (distance + (middle / (deviation_s * deviation_t)).log() / 2).sum(dim=1).mean(dim=1)


def _moments(
    where: str, student_map: Tensor, teacher_map: Tensor, grid: int, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    require_same(where, "n c h w", student_map=student_map, teacher_map=teacher_map)
    require_above(where, 0, eps=eps, grid=grid)
    student, teacher = promoted(student_map, teacher_map.detach())
    return *channel_moments(student, grid=grid, eps=eps), *channel_moments(teacher, grid=grid, eps=eps)


def _kl(mean_p: Tensor, deviation_p: Tensor, mean_q: Tensor, deviation_q: Tensor) -> Tensor:
    """KL(p || q) summed over channels, averaged over cells."""
    ratio = (deviation_p.square() + (mean_p - mean_q).square()) / deviation_q.square()
    return (ratio - 1 + 2 * (deviation_q / deviation_p).log()).sum(dim=1).mean(dim=1) / 2
