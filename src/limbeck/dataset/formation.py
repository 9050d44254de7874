"""Several training images in each stored one (IDC's multi-formation)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import ConfigError

PADDING = 0.5


def decode(images: Tensor, targets: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Cut stored images into factor x factor tiles and enlarge each to the whole size.

    Args:
        images: (n, c, h, h).
        targets: (n,) or (n, classes).
        factor: tiles along each side.

    Returns:
        Images (n factor^2, c, h, h), tile after tile in rows, and their targets.

    Raises:
        ConfigError: a factor below 1 or above the side.
    """
    size = images.shape[-1]
    if not 1 <= factor <= size:
        raise ConfigError(f"factor: {factor} tiles a side cannot be cut out of {size} pixels.")
    if factor == 1:
        return images, targets
    rest = size % factor
    if rest:
        images = F.pad(images, (0, factor - rest, 0, factor - rest), value=PADDING)
    side = images.shape[-1] // factor
    tiles = [
        images[:, :, i * side : (i + 1) * side, j * side : (j + 1) * side]
        for i in range(factor)
        for j in range(factor)
    ]
    grown = F.interpolate(torch.cat(tiles), size=size, mode="bilinear")
    return grown, targets.repeat(factor**2, *([1] * (targets.ndim - 1)))
