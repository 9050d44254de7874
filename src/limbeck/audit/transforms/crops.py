"""Two parts of each image, brought back to its size."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.audit.transforms.checks import need_images
from limbeck.bounds import Fraction
from limbeck.errors import ConfigError
from limbeck.seeding import derive, uniforms

_RATIO = 4 / 3
"""Widest crop that torchvision's random resized crops make; the narrowest is its inverse."""


def crop_pair(images: Tensor, index: Tensor, *, seed: int, area: Fraction = 0.4) -> tuple[Tensor, Tensor]:
    """Two random parts of each image that cover exactly the same share of it, each made as large as the image.

    Width over height, relative to the image's, is log-uniform from 3/4 to 4/3, or as far as the part still fits;
    the place is uniform and need not be of whole pixels; pixels in between are bilinear.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        index: number of each image, shape (n,), int64.
        seed: of the draws; those of all areas are the same.
        area: share of the image, above 0; 1 leaves only the whole image.

    Returns:
        Two tensors of the shape and kind of `images`; the images themselves, twice, where the area is 1.

    Raises:
        ConfigError: an area that is not above 0 and at most 1.
        ShapeError: images or index of another shape.
        DataError: images of whole numbers.

    References:
        Ojha et al., NeurIPS 2023, section 11.3 [ojha2023knowledge].
    """
    need_images("crop_pair", images, index)
    if not 0 < area <= 1:
        raise ConfigError(f"crop_pair: area is a share of the image above 0 and at most 1; got {area}.")
    if area == 1:
        return images, images
    draws = uniforms(index.to(images.device), seed=derive(seed, "crops"), epoch=1, draws=6)
    return _part(images, draws[:, :3], area), _part(images, draws[:, 3:], area)


def _part(images: Tensor, draws: Tensor, area: float) -> Tensor:
    n, _, height, width = images.shape
    widest = min(math.log(_RATIO), -math.log(area))
    ratio = torch.exp((draws[:, 0].to(torch.float64) * 2 - 1) * widest)
    wide, high = (area * ratio).sqrt(), (area / ratio).sqrt()
    # In grid_sample's coordinates the image reaches from -1 to 1, its outermost pixels lie half a pixel inside.
    left, top = -1 + 2 * (1 - wide) * draws[:, 1], -1 + 2 * (1 - high) * draws[:, 2]
    across = (torch.arange(width, device=images.device, dtype=torch.float64) + 0.5) / width
    down = (torch.arange(height, device=images.device, dtype=torch.float64) + 0.5) / height
    x = (left[:, None] + 2 * wide[:, None] * across)[:, None, :].expand(n, height, width)
    y = (top[:, None] + 2 * high[:, None] * down)[:, :, None].expand(n, height, width)
    grid = torch.stack([x, y], dim=-1).to(images.dtype)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
