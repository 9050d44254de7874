"""Correlation of rows, of their numbers and of their ranks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def average_ranks(values: Tensor) -> Tensor:
    """Rank of every number within its row, 1 the smallest; equal numbers share the mean of their ranks.

    Args:
        values: shape (..., k); infinite numbers allowed, undefined ones not.

    Returns:
        Shape (..., k), float64.

    Example:
        >>> average_ranks(torch.tensor([0.5, 0.1, 0.5]))
        tensor([2.5000, 1.0000, 2.5000], dtype=torch.float64)
    """
    ordered, order = values.detach().sort(dim=-1)
    # Equal numbers form a group; each member gets the mean position of its group.
    group = F.pad((ordered[..., 1:] != ordered[..., :-1]).long().cumsum(dim=-1), (1, 0))
    place = torch.arange(1, values.shape[-1] + 1, dtype=torch.float64, device=values.device).expand(group.shape)
    sums = torch.zeros_like(place).scatter_add_(-1, group, place)
    sizes = torch.zeros_like(place).scatter_add_(-1, group, torch.ones_like(place))
    means = (sums / sizes.clamp_min(1)).gather(-1, group)
    return torch.empty_like(means).scatter_(-1, order, means)


def pearson(left: Tensor, right: Tensor) -> Tensor:
    """Pearson's correlation of each row of one with the same row of the other.

    Args:
        left: shape (..., k).
        right: shape (..., k).

    Returns:
        Between -1 and 1, shape (...), float64; NaN where a row does not vary.

    Example:
        >>> rows = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
        >>> pearson(rows, torch.tensor([[2.0, 1.0], [3.0, 3.0]])).round(decimals=6)
        tensor([-1., nan], dtype=torch.float64)
    """
    left, right = left.detach().double(), right.detach().double()
    cosines = (_directions(left) * _directions(right)).sum(dim=-1)
    return torch.where(_varies(left) & _varies(right), cosines.clamp(-1, 1), torch.nan)


def spearman(left: Tensor, right: Tensor) -> Tensor:
    """Spearman's rank correlation of each row of one with the same row of the other.

    Args:
        left: shape (..., k); infinite numbers allowed, undefined ones not.
        right: shape (..., k).

    Returns:
        Between -1 and 1, shape (...), float64; NaN where a row does not vary.

    Example:
        >>> spearman(torch.tensor([0.0, 1.0, 9.0]), torch.tensor([1.0, 2.0, 3.0])).item()
        1.0
    """
    return pearson(average_ranks(left), average_ranks(right))


def _directions(rows: Tensor) -> Tensor:
    # Scaled first: the square of a tiny or a huge number would be lost.
    scale = rows.abs().amax(dim=-1, keepdim=True)
    rows = rows / torch.where(scale > 0, scale, 1.0)
    return F.normalize(rows - rows.mean(dim=-1, keepdim=True), dim=-1, eps=0.0)


def _varies(rows: Tensor) -> Tensor:
    return rows.amax(dim=-1) > rows.amin(dim=-1)
