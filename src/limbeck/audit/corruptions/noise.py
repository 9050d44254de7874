"""Noise of the sensor: Gaussian, shot, impulse and speckle."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from limbeck.audit.corruptions.applying import chosen, corruption, levels
from limbeck.seeding import derive, normals, uniforms


@corruption
def gaussian_noise(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """Normal noise on every value, as in low light.

    Deviations up to 48 pixels: 0.04, 0.06, 0.08, 0.09, 0.10; above: 0.08, 0.12, 0.18, 0.26, 0.38.

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: of the noise; all severities share it.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    deviation = chosen(images, severity, (0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38))
    return images + deviation * _normals("gaussian", images, index, seed)


@corruption
def shot_noise(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """Poisson noise: every value becomes a count of photons.

    Photons of a white value up to 48 pixels: 500, 250, 100, 75, 50; above: 60, 25, 12, 5, 3. The counts are exact
    (inverse distribution function), for images of 256 levels.

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: of the noise; all severities share it.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    photons = chosen(images, severity, (500, 250, 100, 75, 50), (60, 25, 12, 5, 3))
    table = _poisson_table(photons).to(images.device)
    width = len(table) // 256
    level = levels(images)
    # Row l of the table holds l plus a distribution function, so that one search serves all levels.
    wanted = level + _uniforms("shot", images, index, seed).to(torch.float64)
    counts = torch.searchsorted(table, wanted.flatten(), right=True).view_as(level) - level * width
    return counts.to(images.dtype) / photons


@corruption
def impulse_noise(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """Salt and pepper: a share of the values becomes 0 or 1, each as often.

    Shares up to 48 pixels: 0.01, 0.02, 0.03, 0.05, 0.07; above: 0.03, 0.06, 0.09, 0.17, 0.27.

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: of the noise; what is hit at one severity is hit at all above.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    share = chosen(images, severity, (0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27))
    draw = _uniforms("impulse", images, index, seed)
    return images.masked_fill(draw < share / 2, 0.0).masked_fill(draw >= 1 - share / 2, 1.0)


@corruption
def speckle_noise(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """Normal noise in proportion to the value.

    Deviations up to 48 pixels: 0.06, 0.10, 0.12, 0.16, 0.20; above: 0.15, 0.20, 0.35, 0.45, 0.60.

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: of the noise; all severities share it.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    deviation = chosen(images, severity, (0.06, 0.10, 0.12, 0.16, 0.20), (0.15, 0.20, 0.35, 0.45, 0.60))
    return images + images * deviation * _normals("speckle", images, index, seed)


def _normals(name: str, images: Tensor, index: Tensor, seed: int) -> Tensor:
    return normals(index, seed=derive(seed, "corruption", name), shape=tuple(images.shape[1:])).to(images.dtype)


def _uniforms(name: str, images: Tensor, index: Tensor, seed: int) -> Tensor:
    draws = uniforms(index, seed=derive(seed, "corruption", name), epoch=1, draws=images[0].numel())
    return draws.view(images.shape)


@lru_cache(maxsize=10)
def _poisson_table(photons: int) -> Tensor:
    """Level + P(count <= k) for the 256 levels and as many k as can occur, one level after the other."""
    width = int(photons + 8 * photons**0.5 + 12)
    level = torch.arange(256, dtype=torch.float64)
    count = torch.arange(width, dtype=torch.float64)
    below: Tensor = torch.special.gammaincc(count + 1, (level / 255 * photons)[:, None])
    below[:, -1] = 1.0
    return (level[:, None] + below).flatten()
