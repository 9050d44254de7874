"""Images seen from nearer or farther away."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.audit.transforms.checks import need_images
from limbeck.bounds import Positive
from limbeck.errors import ConfigError


def scaled(images: Tensor, index: Tensor, *, seed: int, factor: Positive = 0.8) -> Tensor:
    """The image enlarged about its middle, or made smaller with its own mirror image around. Nothing is random.

    Pixels in between are bilinear; an image that is made smaller is smoothed first.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        index: not used.
        seed: not used.
        factor: above 1 nearer, below 1 farther; at least 1/2. A smaller image has whole pixels, so that the factor
            is met up to half a pixel.

    Returns:
        Shape and kind of `images`; the images themselves for 1.

    Raises:
        ConfigError: a factor below 1/2.
        ShapeError: images or index of another shape.
        DataError: images of whole numbers.
    """
    need_images("scaled", images, index)
    if factor < 0.5:
        raise ConfigError(f"scaled: the mirror image fills the border for factors of at least 0.5; got {factor}.")
    if factor == 1:
        return images
    height, width = images.shape[2:]
    if factor > 1:
        right = (2 * torch.arange(width, device=images.device, dtype=torch.float64) + 1) / width - 1
        down = (2 * torch.arange(height, device=images.device, dtype=torch.float64) + 1) / height - 1
        grid = torch.stack(torch.meshgrid(right / factor, down / factor, indexing="xy"), dim=-1).to(images.dtype)
        grid = grid.expand(len(images), -1, -1, -1)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    size = (max(2, round(factor * height)), max(2, round(factor * width)))
    small = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
    rows = _surrounded(height, size[0]).to(images.device)
    columns = _surrounded(width, size[1]).to(images.device)
    return small[:, :, rows][:, :, :, columns].clamp(0, 1)


def _surrounded(length: int, inner: int) -> Tensor:
    """For each place of an axis the place of the inner part, in the middle, that it shows."""
    place = torch.arange(length) - (length - inner) // 2
    period = 2 * (inner - 1)
    folded = place.remainder(period)
    return torch.minimum(folded, period - folded)
