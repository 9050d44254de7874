"""Channels as Laplace or exponential distributions: location-scale alternatives to WKD-F [lv2024wasserstein]."""

from __future__ import annotations

from torch import Tensor

from limbeck.bounds import Positive
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.precision import promoted


def laplace_w2(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    r"""Squared 2-Wasserstein distance of channels as Laplace distributions, summed over channels, per sample.

    .. math:: \sum_k (\mu_S - \mu_T)^2 + 2 (b_S - b_T)^2

    with b the mean absolute deviation from the mean; the standard deviation of a Laplace distribution is
    the root of two times b.

    Args:
        student_map: projected feature map, shape (n, c, h, w).
        teacher_map: feature map, shape (n, c, h, w); no gradient flows into it.

    Returns:
        One value per sample, in squared units of the activations, shape (n,).

    Example:
        >>> import torch
        >>> maps = torch.arange(4.0).reshape(1, 1, 2, 2)
        >>> laplace_w2(maps + 2, maps)
        tensor([4.])

    References:
        An alternative to WKD-F [lv2024wasserstein].
    """
    student, teacher = _pixels("laplace_w2", student_map, teacher_map)
    (mean_s, scale_s), (mean_t, scale_t) = _laplace(student), _laplace(teacher)
    return ((mean_s - mean_t).square() + 2 * (scale_s - scale_t).square()).sum(dim=1)


def laplace_kl(student_map: Tensor, teacher_map: Tensor, *, eps: Positive = 1e-3) -> Tensor:
    r"""Kullback-Leibler divergence of the student's channels from the teacher's as Laplace distributions.

    .. math:: \sum_k \ln \frac{b_S}{b_T} + \frac{|\delta|}{b_S} + \frac{b_T}{b_S} e^{-|\delta| / b_T} - 1

    Args:
        student_map: projected feature map, shape (n, c, h, w).
        teacher_map: feature map, shape (n, c, h, w); no gradient flows into it.
        eps: added to the scales, > 0.

    Returns:
        One value per sample, in nats, shape (n,).

    Example:
        >>> import torch
        >>> maps = torch.arange(4.0).reshape(1, 1, 2, 2)
        >>> laplace_kl(maps, maps)
        tensor([0.])

    References:
        An alternative to WKD-F [lv2024wasserstein].
    """
    require_above("laplace_kl", 0, eps=eps)
    student, teacher = _pixels("laplace_kl", student_map, teacher_map)
    (mean_s, scale_s), (mean_t, scale_t) = _laplace(student), _laplace(teacher)
    scale_s, scale_t = scale_s + eps, scale_t + eps
    gap = (mean_s - mean_t).abs()
    ratio = scale_t / scale_s
    return (-ratio.log() + gap / scale_s + ratio * (-gap / scale_t).exp() - 1).sum(dim=1)


def exponential_w2(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    r"""Squared 2-Wasserstein distance of channels as exponential distributions, per sample.

    .. math:: 2 \sum_k (\mu_S - \mu_T)^2

    For maps that passed a ReLU: the mean is all there is to such a distribution.

    Args:
        student_map: projected feature map, shape (n, c, h, w), not negative.
        teacher_map: feature map, shape (n, c, h, w), not negative; no gradient flows into it.

    Returns:
        One value per sample, in squared units of the activations, shape (n,).

    Example:
        >>> import torch
        >>> exponential_w2(torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 3.0))
        tensor([8.])

    References:
        An alternative to WKD-F [lv2024wasserstein].
    """
    student, teacher = _pixels("exponential_w2", student_map, teacher_map)
    return 2 * (student.mean(dim=2) - teacher.mean(dim=2)).square().sum(dim=1)


def exponential_kl(student_map: Tensor, teacher_map: Tensor, *, eps: Positive = 1e-3) -> Tensor:
    r"""Kullback-Leibler divergence of the student's channels from the teacher's as exponential distributions.

    .. math:: \sum_k \ln \frac{\mu_S}{\mu_T} + \frac{\mu_T}{\mu_S} - 1

    Args:
        student_map: projected feature map, shape (n, c, h, w), not negative.
        teacher_map: feature map, shape (n, c, h, w), not negative; no gradient flows into it.
        eps: least mean, > 0; smaller and negative means count as this.

    Returns:
        One value per sample, in nats, shape (n,).

    Example:
        >>> import torch
        >>> exponential_kl(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
        tensor([0.])

    References:
        An alternative to WKD-F [lv2024wasserstein].
    """
    require_above("exponential_kl", 0, eps=eps)
    student, teacher = _pixels("exponential_kl", student_map, teacher_map)
    ratio = teacher.mean(dim=2).clamp_min(eps) / student.mean(dim=2).clamp_min(eps)
    return (ratio - ratio.log() - 1).sum(dim=1)


def _pixels(where: str, student_map: Tensor, teacher_map: Tensor) -> tuple[Tensor, Tensor]:
    require_same(where, "n c h w", student_map=student_map, teacher_map=teacher_map)
    student, teacher = promoted(student_map, teacher_map.detach())
    return student.flatten(2), teacher.flatten(2)


def _laplace(pixels: Tensor) -> tuple[Tensor, Tensor]:
    mean = pixels.mean(dim=2)
    return mean, (pixels - mean[:, :, None]).abs().mean(dim=2)
