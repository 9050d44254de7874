"""Weather: snow, frost, fog, brightness, and spatter on the lens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.audit.corruptions.applying import chosen, corruption
from limbeck.audit.corruptions.filters import magnified, smoothed, streaked
from limbeck.audit.corruptions.textures import ICES, clouds, drops, ice
from limbeck.seeding import derive, normals, uniforms
from limbeck.sources.pixel_ops import equalise, grey

_WATER = (175 / 255, 238 / 255, 238 / 255)
_MUD = (63 / 255, 42 / 255, 20 / 255)
_EMBOSS = (
    ((-1, -1), -2.0),
    ((-1, 0), -1.0),
    ((0, -1), -1.0),
    ((0, 0), 1.0),
    ((0, 1), 1.0),
    ((1, 0), 1.0),
    ((1, 1), 2.0),
)


@corruption
def snow(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """Snow: enlarged noise above a threshold, drawn out as it falls, over an image that was whitened.

    (mean, deviation, enlargement, threshold, streak's radius, streak's deviation, share of the image) up to 48
    pixels: (0.1, 0.2, 1, 0.6, 8, 3, 0.95), (0.1, 0.2, 1, 0.5, 10, 4, 0.9), (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
    (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8); above: (0.1, 0.3, 3, 0.5, 10, 4,
    0.8), (0.2, 0.3, 2, 0.5, 12, 4, 0.7), (0.55, 0.3, 4, 0.9, 12, 8, 0.7), (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55).

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: of the flakes and the wind.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    mean, deviation, factor, threshold, radius, sigma, share = chosen(
        images,
        severity,
        (
            (0.1, 0.2, 1.0, 0.6, 8.0, 3.0, 0.95),
            (0.1, 0.2, 1.0, 0.5, 10.0, 4.0, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10.0, 4.0, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12.0, 6.0, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14.0, 12.0, 0.8),
        ),
        (
            (0.1, 0.3, 3.0, 0.5, 10.0, 4.0, 0.8),
            (0.2, 0.3, 2.0, 0.5, 12.0, 4.0, 0.7),
            (0.55, 0.3, 4.0, 0.9, 12.0, 8.0, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12.0, 8.0, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12.0, 12.0, 0.55),
        ),
    )
    flakes = mean + deviation * _layer("snow", images, index, seed)
    flakes = magnified(flakes, factor) if factor > 1 else flakes
    flakes = flakes.where(flakes >= threshold, torch.zeros_like(flakes)).clamp(0, 1)
    draw = uniforms(index, seed=derive(seed, "corruption", "wind"), epoch=1, draws=1)[:, 0]
    flakes = streaked(flakes, 90 * draw - 135, radius=radius, sigma=sigma)
    whitened = share * images + (1 - share) * torch.maximum(images, grey(images) * 1.5 + 0.5)
    return whitened + flakes + flakes.flip(2, 3)


@corruption
def frost(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """Ice on the window, added to the image.

    The published sets add parts of photographs of ice; here the ice is made by a procedure (see `textures.ice`),
    so numbers are near those of the published sets but not comparable with them. (share of the image, share of the
    ice) up to 48 pixels: (1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45); above: (1, 0.4), (0.8, 0.6),
    (0.7, 0.7), (0.65, 0.7), (0.6, 0.75).

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: of which part of which ice; all severities share it.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    share, of_ice = chosen(
        images,
        severity,
        ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    )
    _, channels, height, width = images.shape
    side = 2 * max(height, width)
    pictures = ice(side).to(images)
    pictures = grey(pictures) if channels == 1 else pictures
    draws = uniforms(index, seed=derive(seed, "corruption", "frost"), epoch=1, draws=3)
    which = (draws[:, 0] * ICES).long()
    top, left = (draws[:, 1] * (side - height)).long(), (draws[:, 2] * (side - width)).long()
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    found = pictures[which[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return share * images + of_ice * found.permute(0, 3, 1, 2)


@corruption
def fog(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """Fog: a plasma fractal is added, and the image loses contrast for it.

    (thickness, decay of roughness) up to 48 pixels: (0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75); above:
    (1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4).

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: of the clouds.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    thickness, decay = chosen(
        images,
        severity,
        ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
        ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
    )
    height, width = images.shape[2:]
    layer = clouds(index, side=max(height, width), decay=decay, seed=derive(seed, "corruption", "fog"))
    brightest = images.amax(dim=(1, 2, 3), keepdim=True)
    foggy = images + thickness * layer[:, :, :height, :width].to(images.dtype)
    return foggy * brightest / (brightest + thickness)


@corruption
def brightness(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """More light: the value of every colour (HSV) is raised. Nothing is random.

    Up to 48 pixels by 0.05, 0.1, 0.15, 0.2, 0.3; above by 0.1, 0.2, 0.3, 0.4, 0.5.

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
    more = chosen(images, severity, (0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5))
    value = images.amax(dim=1, keepdim=True)
    raised = (value + more).clamp(0, 1)
    return torch.where(value > 0, images * (raised / value.clamp_min(1e-12)), raised)


@corruption
def spatter(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """Drops on the lens: of water at severities 1 to 3, of mud at 4 and 5.

    (mean, deviation, blur, threshold, strength of the water or blur of the mud) up to 48 pixels:
    (0.62, 0.1, 0.7, 0.7, 0.5), (0.65, 0.1, 0.8, 0.7, 0.5), (0.65, 0.3, 1, 0.69, 0.5), (0.65, 0.1, 0.7, 0.69, 0.6),
    (0.65, 0.1, 0.5, 0.68, 0.6); above: (0.65, 0.3, 4, 0.69, 0.6), (0.65, 0.3, 3, 0.68, 0.6), (0.65, 0.3, 2, 0.68,
    0.5), (0.65, 0.3, 1, 0.65, 1.5), (0.67, 0.4, 1, 0.65, 1.5). The light in the water follows the distance from
    each drop's outline, which is the drop's own border here and not an edge detector's. Grey images get the
    colours' brightness.

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: of the drops.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    mean, deviation, sigma, threshold, last = chosen(
        images,
        severity,
        (
            (0.62, 0.1, 0.7, 0.7, 0.5),
            (0.65, 0.1, 0.8, 0.7, 0.5),
            (0.65, 0.3, 1.0, 0.69, 0.5),
            (0.65, 0.1, 0.7, 0.69, 0.6),
            (0.65, 0.1, 0.5, 0.68, 0.6),
        ),
        (
            (0.65, 0.3, 4.0, 0.69, 0.6),
            (0.65, 0.3, 3.0, 0.68, 0.6),
            (0.65, 0.3, 2.0, 0.68, 0.5),
            (0.65, 0.3, 1.0, 0.65, 1.5),
            (0.67, 0.4, 1.0, 0.65, 1.5),
        ),
    )
    liquid = smoothed(mean + deviation * _layer("spatter", images, index, seed), sigma)
    if severity >= 4:
        cover = smoothed((liquid > threshold).to(images.dtype), last)
        cover = cover.where(cover >= 0.8, torch.zeros_like(cover))
        return images * (1 - cover) + cover * _colour(_MUD, images)
    light = _shine(liquid, threshold)
    return images + last * light * _colour(_WATER, images)


def _shine(liquid: Tensor, threshold: float) -> Tensor:
    """Light in drops of water, at most 1 in each image."""
    layer, distance = drops(liquid, threshold)
    relief = equalise(_box((distance / 255).to(torch.float64)))
    height, width = liquid.shape[2:]
    padded = F.pad(relief, (1, 1, 1, 1), mode="replicate")
    embossed = torch.zeros_like(relief)
    for (down, right), weight in _EMBOSS:
        embossed += weight * padded[:, :, 1 + down : 1 + down + height, 1 + right : 1 + right + width]
    light = layer * _box(embossed.clamp(0, 1)).to(liquid.dtype)
    return light / light.amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6)


def _box(layer: Tensor) -> Tensor:
    """The mean over 3 x 3 pixels."""
    height, width = layer.shape[2:]
    padded = F.pad(layer, (1, 1, 1, 1), mode="replicate")
    total = torch.zeros_like(layer)
    for down in range(3):
        for right in range(3):
            total += padded[:, :, down : down + height, right : right + width]
    return total / 9


def _colour(colour: tuple[float, float, float], images: Tensor) -> Tensor:
    shown = images.new_tensor(colour).view(1, 3, 1, 1)
    return shown if images.shape[1] == 3 else grey(shown)


def _layer(name: str, images: Tensor, index: Tensor, seed: int) -> Tensor:
    shape = (1, *images.shape[2:])
    return normals(index, seed=derive(seed, "corruption", name), shape=shape).to(images.dtype)
