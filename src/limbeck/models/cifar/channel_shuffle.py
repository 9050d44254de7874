"""Mix the channels of groups that do not see each other."""

from __future__ import annotations

from torch import Tensor


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Deal the channels of a map out anew: the first of every group, then the second of every group, and so on.

    Args:
        x: map (n, c, h, w), c a multiple of `groups`.
        groups: 1 leaves the map as it is.

    Example:
        >>> import torch
        >>> channel_shuffle(torch.arange(6.0).reshape(1, 6, 1, 1), 2).flatten().tolist()
        [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
    """
    if groups == 1:
        return x
    out: Tensor = x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)
    return out
