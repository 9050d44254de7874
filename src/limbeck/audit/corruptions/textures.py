"""Random textures for weather: clouds, and ice on a window."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.audit.corruptions.filters import smoothed
from limbeck.seeding import derive, uniforms

ICES = 5
"""Different pictures of ice, as many as the published code draws from."""


def clouds(index: Tensor, *, side: int, decay: float, seed: int) -> Tensor:
    """Plasma fractals, by repeated midpoint displacement on a torus.

    At each halving of the grid, the middle of every square and then of every edge is the mean of its four
    neighbours plus a uniform number; its width starts at 100^2 and is divided by the square of `decay`, which is
    what the published code does.

    Args:
        index: shape (n,), int64.
        side: at least this many pixels; the next power of two is made and cut.
        decay: roughness; larger is smoother.
        seed: of the numbers.

    Returns:
        Shape (n, 1, side, side), float64, each from 0 to 1.
    """
    size = 1 << max(1, (side - 1).bit_length())
    draws = uniforms(index, seed=seed, epoch=1, draws=size * size).to(torch.float64).view(-1, size, size) * 2 - 1
    heights = torch.zeros_like(draws)
    step, width = size, 100.0
    while step >= 2:
        half = step // 2
        amount = width * width * draws
        corners = heights[:, ::step, ::step]
        square = corners + corners.roll(-1, 1)
        square = square + square.roll(-1, 2)
        heights[:, half::step, half::step] = square / 4 + amount[:, half::step, half::step]
        middles = heights[:, half::step, half::step]
        upright = middles + middles.roll(1, 1) + corners + corners.roll(-1, 2)
        level = middles + middles.roll(1, 2) + corners + corners.roll(-1, 1)
        heights[:, ::step, half::step] = upright / 4 + amount[:, ::step, half::step]
        heights[:, half::step, ::step] = level / 4 + amount[:, half::step, ::step]
        step, width = half, width / decay
    low = heights.amin(dim=(1, 2), keepdim=True)
    spread = heights.amax(dim=(1, 2), keepdim=True) - low
    return ((heights - low) / spread.clamp_min(1e-12))[:, None, :side, :side]


@lru_cache(maxsize=4)
def ice(side: int) -> Tensor:
    """Pictures of ice on a window, made without any photograph: crystals with bright, feathered seams.

    The seams lie where two of many random points are equally near; a plasma fractal bends them, fine needles stand
    beside them, and a second one lets the ice be thin in places. Bluish white, brighter than most photographs.

    Args:
        side: of each picture in pixels; a part of half the side is about one window.

    Returns:
        Shape (ICES, 3, side, side), float32, in [0, 1]; the same at every call.
    """
    which = torch.arange(ICES)
    key = derive(0, "ice")
    axis = torch.linspace(0, 1, side, dtype=torch.float64)
    points = uniforms(which, seed=key, epoch=1, draws=2 * 48).to(torch.float64).view(ICES, 48, 2) * 1.2 - 0.1
    bend = clouds(which, side=side, decay=1.9, seed=derive(key, "bend")) - 0.5
    thick = clouds(which, side=side, decay=1.7, seed=derive(key, "thick"))
    fine = clouds(which, side=side, decay=1.45, seed=derive(key, "fine"))
    pictures = []
    for one in range(ICES):
        y = axis[:, None] + 0.12 * bend[one, 0]
        x = axis[None, :] + 0.12 * bend[(one + 1) % ICES, 0]
        places = points[one, :, :, None, None]
        distance = ((y - places[:, 0]) ** 2 + (x - places[:, 1]) ** 2).sqrt()
        nearest = distance.topk(2, dim=0, largest=False).values
        seam = torch.exp(-(nearest[1] - nearest[0]) * 45)
        # The middle values of a rough fractal make fine ridges.
        needles = (1 - (2 * fine[one, 0] - 1).abs() * 2.5).clamp_min(0)
        body = 0.30 + 0.45 * seam + 0.25 * needles * (0.4 + seam)
        pictures.append(body * (0.25 + 0.75 * thick[one, 0]))
    grey = torch.stack(pictures)[:, None]
    grey = (smoothed(grey, side / 512) - 0.05).clamp_min(0)
    grey = grey / grey.flatten(1).quantile(0.97, dim=1)[:, None, None, None]
    tint = torch.tensor([0.86, 0.93, 1.0], dtype=torch.float64).view(3, 1, 1)
    return (grey * tint).clamp(0, 1).to(torch.float32)


def drops(liquid: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Drops where a random layer is above a threshold, and how far each pixel is from a drop's outline.

    Args:
        liquid: shape (n, 1, h, w).
        threshold: of the layer.

    Returns:
        The layer inside the drops and 0 outside; distances in pixels (chessboard), at most 20. Both (n, 1, h, w).
    """
    layer = liquid.where(liquid >= threshold, torch.zeros_like(liquid))
    inside = (layer > 0).to(liquid.dtype)
    outline = inside * F.max_pool2d(1 - inside, 3, stride=1, padding=1)
    distance = torch.full_like(liquid, 20.0)
    reached = outline
    for away in range(20):
        distance = torch.where((reached > 0) & (distance > away), torch.full_like(distance, float(away)), distance)
        reached = F.max_pool2d(reached, 3, stride=1, padding=1)
    return layer, distance
