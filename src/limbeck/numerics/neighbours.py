"""Nearest neighbours among the images themselves."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.numerics.point_sets import distances_within


def nearest(rows: Tensor, *, k: int) -> Tensor:
    """The k nearest other points of every point.

    Args:
        rows: shape (n, p), float64.
        k: between 1 and n - 1.

    Returns:
        Indices, nearest first, shape (n, k), int64.

    Example:
        >>> nearest(torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64), k=1).flatten().tolist()
        [1, 0, 1]
    """
    found = []
    for at, block in distances_within(rows):
        block.diagonal(at.start).fill_(torch.inf)
        found.append(block.topk(k, dim=1, largest=False).indices)
    return torch.cat(found)


def shared_neighbours(left: Tensor, right: Tensor, *, k: int) -> Tensor:
    """For each image the share of its k nearest images on one side that are so on the other too.

    Args:
        left: shape (n, p), float64.
        right: the same images, shape (n, q), float64.
        k: between 1 and n - 1.

    Returns:
        Fractions, shape (n,), float64.

    Example:
        >>> rows = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
        >>> shared_neighbours(rows, rows.square(), k=1)
        tensor([1., 1., 1.], dtype=torch.float64)
    """
    return (nearest(left, k=k)[:, :, None] == nearest(right, k=k)[:, None]).sum(dim=(1, 2)).double() / k
