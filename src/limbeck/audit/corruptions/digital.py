"""What software does to pictures: contrast, elastic distortion, large pixels, JPEG, saturation."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from limbeck.audit.corruptions.applying import chosen, corruption, levels
from limbeck.audit.corruptions.filters import smoothed
from limbeck.seeding import derive, uniforms


@corruption
def contrast(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """The distance of each value from its channel's mean is made smaller. Nothing is random.

    Factors up to 48 pixels: 0.75, 0.5, 0.4, 0.3, 0.15; above: 0.4, 0.3, 0.2, 0.1, 0.05.

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: not used.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    factor = chosen(images, severity, (0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05))
    mean = images.to(torch.float64).mean(dim=(2, 3), keepdim=True).to(images.dtype)
    return (images - mean) * factor + mean


@corruption
def elastic_transform(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """Stretched and kneaded: a random affine map, then every pixel displaced by a smooth random field.

    In parts of the image's side, (length, smoothness of the field, largest shift of the affine map's three points)
    up to 48 pixels: (0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03);
    above, in parts of 244 / 224 of the side: (2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01,
    0.02), (0.12, 0.01, 0.02). Both are done in one interpolation.

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: of map and field.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    unit = 244 / 224
    length, smoothness, shift = chosen(
        images,
        severity,
        ((0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        (
            (2 * unit, 0.7 * unit, 0.1 * unit),
            (2 * unit, 0.08 * unit, 0.2 * unit),
            (0.05 * unit, 0.01 * unit, 0.02 * unit),
            (0.07 * unit, 0.01 * unit, 0.02 * unit),
            (0.12 * unit, 0.01 * unit, 0.02 * unit),
        ),
    )
    n, _, height, width = images.shape
    side = min(height, width)
    key = derive(seed, "corruption", "elastic")
    field = uniforms(index, seed=key, epoch=1, draws=2 * height * width).view(n, 2, height, width) * 2 - 1
    field = smoothed(field.to(torch.float64), smoothness * side, mirrored=True, reach=3.0) * (length * side)
    rows = torch.arange(height, device=images.device, dtype=torch.float64)[:, None] + field[:, 0]
    columns = torch.arange(width, device=images.device, dtype=torch.float64) + field[:, 1]
    # An affine map is known from where it takes three points; here they are corners of a square about the middle.
    moved = (uniforms(index, seed=key, epoch=2, draws=6).to(torch.float64) * 2 - 1) * (shift * side)
    first, second, third = moved.view(n, 3, 2, 1, 1).unbind(dim=1)
    third_of_side = max(1, side // 3)
    down = (rows - (height // 2 + third_of_side)) / (2 * third_of_side)
    right = (columns - (width // 2 + third_of_side)) / (2 * third_of_side)
    change = first + down[:, None] * (first - second) + right[:, None] * (second - third)
    x = (columns + change[:, 1]) * (2 / max(1, width - 1)) - 1
    y = (rows + change[:, 0]) * (2 / max(1, height - 1)) - 1
    grid = torch.stack([x, y], dim=-1).to(images.dtype)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=True)


@corruption
def pixelate(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """Made smaller and larger again with a box filter. Nothing is random.

    Sizes up to 48 pixels: 0.95, 0.9, 0.85, 0.75, 0.65 of the side; above: 0.6, 0.5, 0.4, 0.3, 0.25.

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: not used.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    share = chosen(images, severity, (0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25))
    height, width = images.shape[2:]
    low, narrow = max(1, int(height * share)), max(1, int(width * share))
    # A picture that is resized is stored in between: rounded after each axis, the horizontal one first.
    pixels = levels(images).to(torch.float64)
    for before, after, axis in ((width, narrow, 3), (height, low, 2), (narrow, width, 3), (low, height, 2)):
        matrix = _boxes(before, after).to(images.device)
        pixels = ((pixels @ matrix.T if axis == 3 else matrix @ pixels) + 0.5).floor()
    return pixels / 255


@corruption
def jpeg_compression(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """Stored as a JPEG picture and read back. Nothing is random.

    Quality up to 48 pixels: 80, 65, 58, 50, 40; above: 25, 18, 15, 10, 7.

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: not used.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    quality = chosen(images, severity, (80, 65, 58, 50, 40), (25, 18, 15, 10, 7))
    pixels = levels(images).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    read = np.stack([_through_jpeg(picture, quality) for picture in pixels])
    found = torch.from_numpy(read).view(len(images), *images.shape[2:], images.shape[1])
    return found.permute(0, 3, 1, 2).to(images) / 255


@corruption
def saturate(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """Saturation (HSV) times a factor plus a constant. Nothing is random.

    (factor, constant) up to 48 pixels: (0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2); above: (0.3, 0), (0.1,
    0), (2, 0), (5, 0.1), (20, 0.2). A grey pixel of a colour image counts as red of saturation 0, as in the
    published sets. Images of one channel have no saturation and stay as they are.

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: not used.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    factor, constant = chosen(
        images,
        severity,
        ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)),
        ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)),
    )
    if images.shape[1] == 1:
        return images
    value = images.amax(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    saturation = chroma / value.clamp_min(1e-12)
    wanted = (saturation * factor + constant).clamp(0, 1)
    red = images.new_tensor([0.0, 1.0, 1.0]).view(1, 3, 1, 1)
    away = torch.where(chroma > 0, (value - images) / chroma.clamp_min(1e-12), red)
    return value * (1 - wanted * away)


def _through_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    stored = io.BytesIO()
    Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(stored, "JPEG", quality=quality)
    stored.seek(0)
    with Image.open(stored) as read:
        return np.asarray(read)


@lru_cache(maxsize=64)
def _boxes(before: int, after: int) -> Tensor:
    """Resizing along an axis with a box filter of whole pixels, as a matrix (after, before)."""
    scale = before / after
    reach = 0.5 * max(scale, 1.0)
    matrix = torch.zeros(after, before, dtype=torch.float64)
    for row in range(after):
        centre = (row + 0.5) * scale
        first, last = max(0, int(centre - reach + 0.5)), min(before, int(centre + reach + 0.5))
        inside = [p for p in range(first, last) if -0.5 < (p - centre + 0.5) / max(scale, 1.0) <= 0.5]
        matrix[row, inside] = 1 / len(inside)
    return matrix
