"""Changes of whole batches of images, each image by an amount of its own; nothing here is random.

Every function takes floats in [0, 1], shape (n, c, h, w), and amounts of shape (n,). They agree with torchvision's
functions of the same names on images of whole numbers, up to rounding to 1/255.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R 601), as torchvision has them."""
_UNIT = 1 << 20
_PART = 1 << 16


def grey(images: Tensor) -> Tensor:
    """Brightness of each pixel, shape (n, 1, h, w); images of other than three channels are averaged."""
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True) if images.shape[1] > 1 else images
    red, green, blue = images.unbind(dim=1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)[:, None]


def blend(images: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """`share` of the image and the rest of the other, cut off at [0, 1]; above 1 it leads away from the other."""
    weight = share.to(images.dtype)[:, None, None, None]
    return (weight * images + (1 - weight) * other).clamp(0, 1)


def scale_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """All pixels times the factor."""
    return (images * factor.to(images.dtype)[:, None, None, None]).clamp(0, 1)


def scale_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """The distance of all pixels from the image's mean brightness times the factor."""
    # Summed as whole numbers, so that the last digit does not depend on the order of the sum.
    total = (grey(images).flatten(1) * _UNIT).round().long().sum(dim=1)
    mean = total.to(images.dtype) / (_UNIT * images.shape[2] * images.shape[3])
    return blend(images, mean[:, None, None, None], factor)


def scale_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """The distance of all pixels from their grey times the factor; grey images stay."""
    return blend(images, grey(images), factor) if images.shape[1] == 3 else images


def scale_sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """The distance of inner pixels from their neighbourhood's mean times the factor."""
    if min(images.shape[2:]) < 3:
        return images
    rows = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    around = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    blurred = images.clone()
    blurred[:, :, 1:-1, 1:-1] = (around + 4 * images[:, :, 1:-1, 1:-1]) / 13
    return blend(images, blurred, factor)


def blur(images: Tensor, sigma: Tensor, *, size: int) -> Tensor:
    """Gaussian blur of deviation `sigma` pixels over `size` pixels, an odd number; borders are mirrored."""
    place = torch.arange(size, device=images.device, dtype=torch.float32) - size // 2
    weights = torch.exp(-0.5 * (place / sigma.float()[:, None]) ** 2)
    # One after the other, so that rounding does not depend on the size of the batch.
    total = weights[:, 0]
    for k in range(1, size):
        total = total + weights[:, k]
    weights = (weights / total[:, None]).to(images.dtype)
    for axis, margin in ((3, (size // 2, size // 2, 0, 0)), (2, (0, 0, size // 2, size // 2))):
        padded = F.pad(images, margin, mode="reflect")
        length = images.shape[axis]
        images = torch.zeros_like(images)
        for k in range(size):
            images.addcmul_(padded.narrow(axis, k, length), weights[:, k, None, None, None])
    return images


def shift_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Colours turned round the circle by a share of it, -0.5 to 0.5; grey images stay."""
    if images.shape[1] != 3:
        return images
    # In parts that stay in the cache: a dozen intermediate results are needed.
    part = max(1, _PART // (images.shape[2] * images.shape[3]))
    if images.device.type == "cpu" and len(images) > part:
        pairs = zip(images.split(part), turns.split(part), strict=True)
        return torch.cat([_hue_shifted(*pair) for pair in pairs])
    return _hue_shifted(images, turns)


def posterise(images: Tensor, bits: Tensor) -> Tensor:
    """Only the highest bits of each pixel's 8."""
    step = (2.0 ** (8 - bits.to(images.dtype)))[:, None, None, None]
    return torch.floor(_levels(images) / step) * step / 255


def solarise(images: Tensor, threshold: Tensor) -> Tensor:
    """Pixels of at least the threshold are inverted."""
    return torch.where(images >= threshold.to(images.dtype)[:, None, None, None], 1 - images, images)


def stretch_contrast(images: Tensor) -> Tensor:
    """Each channel of each image spread over all of [0, 1]; constant ones stay."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    width = high - low
    stretched = (images - low) / width.where(width > 0, torch.ones_like(width))
    return torch.where(width > 0, stretched, images)


def invert(images: Tensor) -> Tensor:
    """The negative."""
    return 1 - images


def equalise(images: Tensor) -> Tensor:
    """Each channel's 256 levels spread so that all are about equally frequent."""
    n, c, h, w = images.shape
    levels = _levels(images).long().view(n * c, h * w)
    counts = torch.zeros(n * c, 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels))
    last = counts.gather(1, levels.amax(dim=1, keepdim=True))
    step = (h * w - last) // 255
    below = counts.cumsum(dim=1) - counts
    table = torch.div(below + step // 2, step.clamp_min(1), rounding_mode="floor").clamp(0, 255)
    mapped = table.gather(1, levels).to(images.dtype) / 255
    return torch.where(step > 0, mapped, images.view(n * c, h * w)).view(n, c, h, w)


def warp(images: Tensor, inverse: Tensor) -> Tensor:
    """Images under an affine map, each pixel the nearest of the image; what comes in from outside is zero.

    Args:
        images: shape (n, c, h, w), floats or bytes.
        inverse: from output to input, in pixels from the middle, (n, 2, 3).

    Returns:
        Shape and kind of `images`.
    """
    n, channels, height, width = images.shape
    y = torch.arange(height, device=images.device, dtype=inverse.dtype) - (height - 1) / 2
    x = torch.arange(width, device=images.device, dtype=inverse.dtype) - (width - 1) / 2
    a = inverse[:, :, :, None]
    places = []
    for axis, length in ((0, width), (1, height)):
        along_x = a[:, axis, 0] * x + (a[:, axis, 2] + (length - 1) / 2)
        along_y = a[:, axis, 1] * y
        places.append((along_x[:, None].float() + along_y[:, :, None].float()).round_())
    column, row = places
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    place = (row.mul_(width).add_(column)).clamp_(0, height * width - 1).long().view(n, 1, height * width)
    found = images.flatten(2).gather(2, place.expand(-1, channels, -1)).view(images.shape)
    return found.mul_(inside[:, None].to(images.dtype))


def _hue_shifted(images: Tensor, turns: Tensor) -> Tensor:
    red, green, blue = images.unbind(dim=1)
    value, low = images.amax(dim=1), images.amin(dim=1)
    chroma = value - low
    safe = chroma.where(chroma > 0, torch.ones_like(chroma))
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = hue / 6 + turns.to(images.dtype)[:, None, None]
    hue = hue - hue.floor()
    saturation = chroma / value.where(value > 0, torch.ones_like(value))
    # Each channel follows the same curve, shifted by a third of the circle.
    offset = images.new_tensor([5.0, 3.0, 1.0]).view(3, 1, 1)
    k = offset + 6 * hue[:, None]
    k = torch.where(k >= 6, k - 6, k)
    return value[:, None] * (1 - saturation[:, None] * torch.minimum(k, 4 - k).clamp(0, 1))


def _levels(images: Tensor) -> Tensor:
    return (images * 255).round()
