"""Pixels as samples of a distribution over channels: kernel and transport distances [lv2024wasserstein]."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.bounds import NonNegative, Positive, PositiveInt
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.precision import no_autocast, promoted


def pixel_mmd(student_map: Tensor, teacher_map: Tensor, *, width: Positive = 1.0) -> Tensor:
    r"""Squared maximum mean discrepancy between two sets of pixels, Gaussian kernel, per sample.

    .. math:: \overline{k(t, t')} + \overline{k(s, s')} - 2 \overline{k(s, t)}, \quad
        k(x, y) = e^{-|x - y|^2 / (2 w^2)}

    Args:
        student_map: projected feature map, shape (n, c, h, w).
        teacher_map: feature map, shape (n, c, h, w); no gradient flows into it.
        width: of the kernel (w), in units of the activations, > 0.

    Returns:
        One value per sample, dimensionless, shape (n,).

    Example:
        >>> maps = torch.arange(8.0).reshape(1, 2, 2, 2)
        >>> pixel_mmd(maps.flip(3), maps)
        tensor([0.])

    References:
        A discrete alternative to WKD-F [lv2024wasserstein].
    """
    require_above("pixel_mmd", 0, width=width)
    student, teacher = _pixels("pixel_mmd", student_map, teacher_map)
    with no_autocast(student):
        means = [
            torch.exp(-_squared_distances(x, y) / (2 * width**2)).mean(dim=(1, 2))
            for x, y in ((teacher, teacher), (student, student), (student, teacher))
        ]
    return means[0] + means[1] - 2 * means[2]


def pixel_mmd_polynomial(
    student_map: Tensor, teacher_map: Tensor, *, offset: NonNegative = 0.0, degree: PositiveInt = 2
) -> Tensor:
    r"""Squared maximum mean discrepancy between two sets of pixels, polynomial kernel, per sample.

    .. math:: k(x, y) = (x^\top y + o)^d

    Args:
        student_map: projected feature map, shape (n, c, h, w).
        teacher_map: feature map, shape (n, c, h, w); no gradient flows into it.
        offset: added to the product (o).
        degree: power of the kernel (d).

    Returns:
        One value per sample, in units of the kernel, shape (n,).

    Example:
        >>> maps = torch.arange(8.0).reshape(1, 2, 2, 2)
        >>> pixel_mmd_polynomial(maps.flip(3), maps)
        tensor([0.])

    References:
        A discrete alternative to WKD-F [lv2024wasserstein].
    """
    require_above("pixel_mmd_polynomial", 0, degree=degree)
    student, teacher = _pixels("pixel_mmd_polynomial", student_map, teacher_map)
    with no_autocast(student):
        means = [
            ((x @ y.mT + offset) ** degree).mean(dim=(1, 2))
            for x, y in ((teacher, teacher), (student, student), (student, teacher))
        ]
    return means[0] + means[1] - 2 * means[2]


def pixel_transport(
    student_map: Tensor, teacher_map: Tensor, *, reg: Positive = 0.05, iterations: PositiveInt = 50
) -> Tensor:
    r"""Transport cost between two sets of pixels, each of weight 1/m, cost one minus cosine, per sample.

    The plan is found by Sinkhorn iterations on logarithms without gradient; the student is moved along the plan,
    which is the gradient of the entropic problem at its optimum.

    Args:
        student_map: projected feature map, shape (n, c, h, w).
        teacher_map: feature map, shape (n, c, h, w); no gradient flows into it.
        reg: strength of the entropy, in units of the cost, > 0.
        iterations: Sinkhorn iterations.

    Returns:
        One value per sample, between 0 and 2, shape (n,).

    Example:
        >>> maps = torch.eye(4).reshape(1, 4, 2, 2)
        >>> pixel_transport(maps.flip(3), maps).round(decimals=4)
        tensor([0.])

    References:
        A discrete alternative to WKD-F [lv2024wasserstein].
    """
    require_above("pixel_transport", 0, reg=reg, iterations=iterations)
    student, teacher = _pixels("pixel_transport", student_map, teacher_map)
    with no_autocast(student):
        directions = (torch.nn.functional.normalize(x, dim=2) for x in (student, teacher))
        s, t = directions
        cost = 1 - s @ t.mT
        return (_uniform_plan(cost.detach(), reg, iterations) * cost).sum(dim=(1, 2))


def _uniform_plan(cost: Tensor, reg: float, iterations: int) -> Tensor:
    """Plans between uniform weights, shape (n, m, m)."""
    log_kernel = -cost / reg
    log_mass = -torch.log(torch.tensor(float(cost.shape[1]), dtype=cost.dtype, device=cost.device))
    f = torch.zeros_like(cost[:, :, 0])
    g = torch.zeros_like(f)
    for _ in range(iterations):
        g = log_mass - (log_kernel + f[:, :, None]).logsumexp(dim=1)
        f = log_mass - (log_kernel + g[:, None, :]).logsumexp(dim=2)
    return (f[:, :, None] + log_kernel + g[:, None, :]).exp()


def _pixels(where: str, student_map: Tensor, teacher_map: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels as rows, shape (n, h * w, c)."""
    require_same(where, "n c h w", student_map=student_map, teacher_map=teacher_map)
    student, teacher = promoted(student_map, teacher_map.detach())
    return student.flatten(2).mT, teacher.flatten(2).mT


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    squares = x.square().sum(dim=2)[:, :, None] + y.square().sum(dim=2)[:, None, :] - 2 * x @ y.mT
    return squares.clamp_min(0)
