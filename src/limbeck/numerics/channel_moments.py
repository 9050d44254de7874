"""Statistics of each channel of a map over batch and positions: removed, or replaced by those of another map."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.numerics.precision import promoted

EPS = 1e-6
"""Added to the deviation before dividing by it."""


def standardised(maps: Tensor) -> Tensor:
    """Each channel with mean 0 and deviation 1 over batch and positions.

    Args:
        maps: shape (n, c, h, w).

    Returns:
        The same shape, at least float32; a constant channel becomes zero.

    Example:
        >>> standardised(torch.tensor([1.0, 3.0]).reshape(1, 1, 1, 2)).flatten()
        tensor([-0.7071,  0.7071])
    """
    (maps,) = promoted(maps)
    mean, deviation = _moments(maps)
    return (maps - mean) / (deviation + EPS)


def restandardised(maps: Tensor, like: Tensor) -> Tensor:
    """Each channel brought to the mean and the deviation that it has in another map.

    What CrossKD does to the student's features before they enter the rest of the teacher's head.

    Args:
        maps: the student's, shape (n, c, h, w).
        like: the teacher's, shape (n', c, h', w'); no gradient flows into it.

    Returns:
        The shape of `maps`, at least float32.

    Raises:
        ShapeError: channels that differ.

    Example:
        >>> maps = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2)
        >>> restandardised(maps, 10 + 2 * maps).flatten().round(decimals=4)
        tensor([10., 12.])

    References:
        Wang et al., CrossKD: Cross-Head Knowledge Distillation for Object Detection, CVPR 2024 [wang2024crosskd];
        the released program.
    """
    if maps.dim() != 4 or like.dim() != 4 or maps.shape[1] != like.shape[1]:
        raise ShapeError(
            f"restandardised: expected maps (n, c, h, w) with equal channels, got {tuple(maps.shape)} and "
            f"{tuple(like.shape)}."
        )
    maps, like = promoted(maps, like.detach())
    mean, deviation = _moments(like)
    return standardised(maps) * deviation + mean


def _moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    values = maps.numel() // max(maps.shape[1], 1)
    # Unbiased, as published; a single value has no unbiased deviation, and 0 serves as for any constant.
    variance, mean = torch.var_mean(maps, dim=(0, 2, 3), keepdim=True, correction=min(1, values - 1))
    constant = variance <= 0
    deviation = torch.where(constant, 1.0, variance).sqrt().masked_fill(constant, 0.0)  # no infinite slope at 0
    return mean, deviation
