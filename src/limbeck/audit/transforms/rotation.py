"""Images turned to the left or to the right."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.audit.transforms.checks import need_images
from limbeck.bounds import NonNegative
from limbeck.seeding import derive, uniforms


def rotated(images: Tensor, index: Tensor, *, seed: int, degrees: NonNegative = 20.0) -> Tensor:
    """Each image turned about its middle by just this angle, to a side of its own.

    The corners are filled with the mirror image, so that no black wedge gives the turn away; pixels in between are
    bilinear. Which images turn left is the same at all angles.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        index: number of each image, shape (n,), int64.
        seed: of the draws.
        degrees: how far.

    Returns:
        Shape and kind of `images`; the images themselves for 0 degrees.

    Raises:
        ShapeError: images or index of another shape.
        DataError: images of whole numbers.
    """
    need_images("rotated", images, index)
    if degrees == 0:
        return images
    height, width = images.shape[2:]
    left = uniforms(index.to(images.device), seed=derive(seed, "rotation"), epoch=1, draws=1)[:, 0] < 0.5
    angle = torch.where(left, -1.0, 1.0).to(torch.float64)[:, None, None] * math.radians(degrees)
    down = torch.arange(height, device=images.device, dtype=torch.float64)[None, :, None] - (height - 1) / 2
    right = torch.arange(width, device=images.device, dtype=torch.float64)[None, None, :] - (width - 1) / 2
    x = angle.cos() * right - angle.sin() * down
    y = angle.sin() * right + angle.cos() * down
    grid = torch.stack([2 * x / width, 2 * y / height], dim=-1).to(images.dtype)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
