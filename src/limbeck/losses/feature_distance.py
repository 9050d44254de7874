"""The distance that LPIPS is built on: unit-length features of a network, weighted channel by channel."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.numerics.precision import promoted

_EPSILON = 1e-10


def feature_distance(
    maps: Sequence[Tensor], target_maps: Sequence[Tensor], *, weights: Sequence[Tensor] | None = None
) -> Tensor:
    """Weighted squared difference of unit features, mean over places, summed over layers (Zhang et al. 2018).

    Args:
        maps: features of the predicted images, one (n, c, h, w) a layer.
        target_maps: of the images they shall be like, the same shapes.
        weights: (c,) a layer, LPIPS's linear heads; ones unless given.

    Returns:
        (n,).

    Raises:
        ShapeError: lists of other lengths, or weights of other channels.

    Example:
        >>> import torch
        >>> a = torch.tensor([[[[1.0]], [[0.0]]]])
        >>> round(feature_distance([a], [a.flip(1)]).item(), 4)
        2.0
    """
    if len(maps) != len(target_maps) or (weights is not None and len(weights) != len(maps)):
        raise ShapeError(
            f"feature_distance: {len(maps)} layers against {len(target_maps)}"
            + (f" and {len(weights)} weights." if weights is not None else ".")
        )
    total = promoted(maps[0])[0].new_zeros(len(maps[0]))
    for place, (mine, theirs) in enumerate(zip(maps, target_maps, strict=True)):
        # Half precision cannot hold what keeps places without any feature from a division by zero.
        found, wanted = promoted(mine, theirs)
        square = (_unit(found) - _unit(wanted)).square()
        if weights is not None:
            weight = weights[place].flatten()
            if len(weight) != square.shape[1]:
                raise ShapeError(
                    f"feature_distance: layer {place} has {square.shape[1]} channels, its weights {len(weight)}."
                )
            square = square * weight.to(square.dtype).view(1, -1, *[1] * (square.ndim - 2))
        total = total + square.flatten(2).mean(2).sum(1)
    return total


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True) + _EPSILON).sqrt()
