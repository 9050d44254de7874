"""Activations without a family of distributions: normalised or sorted, then compared [lv2024wasserstein]."""

from __future__ import annotations

from torch import Tensor

from limbeck.bounds import Positive
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.divergence import softened_kl
from limbeck.numerics.precision import promoted


def histogram_kl(student_map: Tensor, teacher_map: Tensor, *, temperature: Positive = 1.0) -> Tensor:
    """Where a channel is active: divergence of softmaxes over pixels, mean over channels, per sample.

    Args:
        student_map: projected feature map, shape (n, c, h, w).
        teacher_map: feature map, shape (n, c, h, w); no gradient flows into it.
        temperature: divides the activations, > 0.

    Returns:
        One value per sample, in nats, shape (n,).

    Example:
        >>> import torch
        >>> histogram_kl(torch.zeros(1, 2, 3, 3), torch.ones(1, 2, 3, 3)).round(decimals=4)
        tensor([0.])

    References:
        A discrete alternative to WKD-F [lv2024wasserstein].
    """
    require_same("histogram_kl", "n c h w", student_map=student_map, teacher_map=teacher_map)
    require_above("histogram_kl", 0, temperature=temperature)
    return softened_kl(student_map.flatten(2), teacher_map.flatten(2), temperature=temperature).mean(dim=1)


def channel_histogram_kl(student_map: Tensor, teacher_map: Tensor, *, temperature: Positive = 1.0) -> Tensor:
    """Which channels are active where: divergence of softmaxes over channels, mean over pixels, per sample.

    Args:
        student_map: projected feature map, shape (n, c, h, w).
        teacher_map: feature map, shape (n, c, h, w); no gradient flows into it.
        temperature: divides the activations, > 0.

    Returns:
        One value per sample, in nats, shape (n,).

    Example:
        >>> import torch
        >>> channel_histogram_kl(torch.zeros(1, 2, 3, 3), torch.ones(1, 2, 3, 3)).round(decimals=4)
        tensor([0.])

    References:
        A discrete alternative to WKD-F [lv2024wasserstein].
    """
    require_same("channel_histogram_kl", "n c h w", student_map=student_map, teacher_map=teacher_map)
    require_above("channel_histogram_kl", 0, temperature=temperature)
    by_pixel = (maps.flatten(2).transpose(1, 2) for maps in (student_map, teacher_map))
    return softened_kl(*by_pixel, temperature=temperature).mean(dim=1)


def sorted_w2(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance between each channel's activations, wherever they are; summed over channels.

    In one dimension transport sorts both sides; no family of distributions is assumed.

    Args:
        student_map: projected feature map, shape (n, c, h, w).
        teacher_map: feature map, shape (n, c, h, w); no gradient flows into it.

    Returns:
        One value per sample, in squared units of the activations, shape (n,).

    Example:
        >>> import torch
        >>> maps = torch.arange(4.0).reshape(1, 1, 2, 2)
        >>> sorted_w2(maps.flip(3) + 2, maps)
        tensor([4.])

    References:
        A discrete alternative to WKD-F [lv2024wasserstein].
    """
    require_same("sorted_w2", "n c h w", student_map=student_map, teacher_map=teacher_map)
    student, teacher = promoted(student_map.flatten(2), teacher_map.detach().flatten(2))
    return (student.sort(dim=2).values - teacher.sort(dim=2).values).square().mean(dim=2).sum(dim=1)
