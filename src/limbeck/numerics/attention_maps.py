"""Where a feature map is strong: attention over positions and over channels, as detectors are distilled with."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def spatial_attention(maps: Tensor, *, temperature: float = 0.5) -> Tensor:
    r"""Softmax over positions of the mean absolute activation, times the number of positions.

    .. math:: A_{ij} = h w \cdot \mathrm{softmax}_{ij}\left( \tfrac{1}{c} \sum_k |F_{kij}| / \tau \right)

    Args:
        maps: shape (n, c, h, w).
        temperature: divides the means, > 0.

    Returns:
        Shape (n, h, w), of mean 1 for each map.

    Example:
        >>> import torch
        >>> spatial_attention(torch.ones(1, 3, 1, 2))
        tensor([[[1., 1.]]])
    """
    means = maps.abs().mean(dim=1)
    shares = F.softmax(means.flatten(1) / temperature, dim=1).view_as(means)
    return shares * (maps.shape[2] * maps.shape[3])


def channel_attention(maps: Tensor, *, temperature: float = 0.5) -> Tensor:
    r"""Softmax over channels of the mean absolute activation, times the number of channels.

    Args:
        maps: shape (n, c, h, w).
        temperature: divides the means, > 0.

    Returns:
        Shape (n, c), of mean 1 for each map.

    Example:
        >>> import torch
        >>> channel_attention(torch.ones(1, 2, 3, 3))
        tensor([[1., 1.]])
    """
    return F.softmax(maps.abs().mean(dim=(2, 3)) / temperature, dim=1) * maps.shape[1]
