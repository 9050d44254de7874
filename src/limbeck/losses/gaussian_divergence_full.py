"""Divergences between feature maps as Gaussians with full covariance [lv2024wasserstein].

Deep maps have fewer pixels than channels, so covariances are singular: a ridge on their diagonal keeps them
invertible. Costs grow with the cube of the channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.bounds import Positive
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.gaussian import full_covariance
from limbeck.numerics.matrix_log import matrix_log
from limbeck.numerics.precision import no_autocast, promoted


def gaussian_kl_full(student_map: Tensor, teacher_map: Tensor, *, ridge: Positive = 1e-3) -> Tensor:
    r"""Kullback-Leibler divergence of the student's Gaussian from the teacher's, full covariance, per sample.

    .. math:: \tfrac12 \left( \mathrm{tr}(\Sigma_S^{-1} \Sigma_T) + \delta^\top \Sigma_S^{-1} \delta - c
        + \ln \frac{\det \Sigma_S}{\det \Sigma_T} \right)

    Args:
        student_map: projected feature map, shape (n, c, h, w).
        teacher_map: feature map, shape (n, c, h, w); no gradient flows into it.
        ridge: added to the diagonal of both covariances, > 0.

    Returns:
        One value per sample, in nats, shape (n,).

    Raises:
        ShapeError: maps differ in shape.

    Example:
        >>> maps = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> gaussian_kl_full(maps, maps)
        tensor([0.])

    References:
        An alternative to WKD-F [lv2024wasserstein].
    """
    mean_s, cov_s, mean_t, cov_t = _moments("gaussian_kl_full", student_map, teacher_map, ridge)
    with no_autocast(cov_s):
        root_s, root_t = torch.linalg.cholesky(cov_s), torch.linalg.cholesky(cov_t)
        gap = (mean_t - mean_s)[:, :, None]
        # |L_S^-1 L_T|^2 is the trace, |L_S^-1 d|^2 the quadratic form: no inverse is ever built.
        spread = torch.linalg.solve_triangular(root_s, root_t, upper=False).square().sum(dim=(1, 2))
        shift = torch.linalg.solve_triangular(root_s, gap, upper=False).square().sum(dim=(1, 2))
        doubled: Tensor = spread + shift - gap.shape[1] + _log_det(root_s) - _log_det(root_t)
        return doubled / 2


def gaussian_bhattacharyya_full(student_map: Tensor, teacher_map: Tensor, *, ridge: Positive = 1e-3) -> Tensor:
    r"""Bhattacharyya distance between Gaussians with full covariance, per sample.

    .. math:: \tfrac18 \delta^\top \bar\Sigma^{-1} \delta
        + \tfrac12 \ln \frac{\det \bar\Sigma}{\sqrt{\det \Sigma_T \det \Sigma_S}}, \quad
        \bar\Sigma = \tfrac12 (\Sigma_T + \Sigma_S)

    Args:
        student_map: projected feature map, shape (n, c, h, w).
        teacher_map: feature map, shape (n, c, h, w); no gradient flows into it.
        ridge: added to the diagonal of both covariances, > 0.

    Returns:
        One value per sample, dimensionless, shape (n,).

    Raises:
        ShapeError: maps differ in shape.

    Example:
        >>> maps = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> gaussian_bhattacharyya_full(maps, maps)
        tensor([0.])

    References:
        An alternative to WKD-F [lv2024wasserstein].
    """
    mean_s, cov_s, mean_t, cov_t = _moments("gaussian_bhattacharyya_full", student_map, teacher_map, ridge)
    with no_autocast(cov_s):
        middle = torch.linalg.cholesky((cov_s + cov_t) / 2)
        gap = (mean_t - mean_s)[:, :, None]
        shift = torch.linalg.solve_triangular(middle, gap, upper=False).square().sum(dim=(1, 2))
        outer = _log_det(torch.linalg.cholesky(cov_s)) + _log_det(torch.linalg.cholesky(cov_t))
        distance: Tensor = shift / 8 + (_log_det(middle) - outer / 2) / 2
        return distance


def gaussian_log_euclidean(student_map: Tensor, teacher_map: Tensor, *, ridge: Positive = 1e-3) -> Tensor:
    r"""Log-Euclidean distance between Gaussians embedded as positive definite matrices, per sample.

    .. math:: \| \ln P_S - \ln P_T \|_F, \quad
        P = \begin{pmatrix} \Sigma + \mu \mu^\top & \mu \\ \mu^\top & 1 \end{pmatrix}

    Computed in float64 where the device has it.

    Args:
        student_map: projected feature map, shape (n, c, h, w).
        teacher_map: feature map, shape (n, c, h, w); no gradient flows into it.
        ridge: added to the diagonal of both covariances, > 0.

    Returns:
        One value per sample, dimensionless, shape (n,).

    Raises:
        ShapeError: maps differ in shape.

    Example:
        >>> maps = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> gaussian_log_euclidean(maps, maps).round(decimals=3)
        tensor([0.])

    References:
        An alternative to WKD-F [lv2024wasserstein].
    """
    require_same("gaussian_log_euclidean", "n c h w", student_map=student_map, teacher_map=teacher_map)
    require_above("gaussian_log_euclidean", 0, ridge=ridge)
    student, teacher = promoted(student_map, teacher_map.detach())
    wide = torch.float32 if student.device.type == "mps" else torch.float64
    with no_autocast(student):
        gap = matrix_log(_embedded(student.to(wide), ridge)) - matrix_log(_embedded(teacher.to(wide), ridge))
        # The floor keeps the gradient of the root finite where both are equal.
        return (gap.square().sum(dim=(1, 2)) + torch.finfo(wide).tiny).sqrt().to(student.dtype)


def _moments(
    where: str, student_map: Tensor, teacher_map: Tensor, ridge: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    require_same(where, "n c h w", student_map=student_map, teacher_map=teacher_map)
    require_above(where, 0, ridge=ridge)
    student, teacher = promoted(student_map, teacher_map.detach())
    with no_autocast(student):
        return *full_covariance(student, ridge=ridge), *full_covariance(teacher, ridge=ridge)


def _embedded(maps: Tensor, ridge: float) -> Tensor:
    """One positive definite matrix for each Gaussian, shape (n, c + 1, c + 1)."""
    mean, covariance = full_covariance(maps, ridge=ridge)
    extended = torch.cat([mean, torch.ones_like(mean[:, :1])], dim=1)
    return torch.nn.functional.pad(covariance, (0, 1, 0, 1)) + extended[:, :, None] * extended[:, None, :]


def _log_det(root: Tensor) -> Tensor:
    return 2 * root.diagonal(dim1=1, dim2=2).log().sum(dim=1)
