"""Steerable pyramids in the Fourier domain: an image as the sum of bands, each of one scale and one direction."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

DIRECTIONS = 4
"""Directions of each scale, as usual for texture."""


def scales_of(height: int, width: int) -> int:
    """How many scales an image of this size has: the lowest band still has a few waves."""
    return max(1, int(math.log2(min(height, width))) - 2)


def bands_of(planes: Tensor) -> Tensor:
    """The bands of each plane at full size; borders wrap around.

    Args:
        planes: shape (..., h, w), floating.

    Returns:
        Shape (bands, ..., h, w): what is finer than the first scale, each scale's directions from fine to coarse,
        and what is coarser than the last. `planes_of` undoes it.

    References:
        Simoncelli and Freeman, The steerable pyramid, ICIP 1995 [simoncelli1995steerable].
    """
    filters = _filters(*planes.shape[-2:]).to(planes.device)
    spectrum = torch.fft.fft2(planes)
    return torch.stack([torch.fft.ifft2(spectrum * one).real for one in filters])


def planes_of(bands: Tensor) -> Tensor:
    """Planes from their bands: every band filtered once more, and all added.

    Example:
        >>> planes = torch.arange(64.0, dtype=torch.float64).view(8, 8)
        >>> torch.allclose(planes_of(bands_of(planes)), planes)
        True
    """
    filters = _filters(*bands.shape[-2:]).to(bands.device)
    spectrum = torch.fft.fft2(bands[0]) * filters[0].conj()
    for band, one in zip(bands[1:], filters[1:], strict=True):
        spectrum = spectrum + torch.fft.fft2(band) * one.conj()
    planes: Tensor = torch.fft.ifft2(spectrum).real
    return planes


@lru_cache(maxsize=8)
def _filters(height: int, width: int) -> Tensor:
    """Filters whose squares add up to one, shape (bands, h, w), complex128."""
    down = torch.fft.fftfreq(height, dtype=torch.float64)[:, None] * 2
    right = torch.fft.fftfreq(width, dtype=torch.float64)[None, :] * 2
    octave = torch.log2((down**2 + right**2).sqrt().clamp_min(1e-9))  # 0 at the highest frequency along an axis
    angle = torch.atan2(down.expand(height, width), right.expand(height, width))
    power = DIRECTIONS - 1
    factor = 2**power * math.factorial(power) / math.sqrt(DIRECTIONS * math.factorial(2 * power))
    # The highest frequency of an even size, which stands for both signs, is left to the first band altogether.
    low = _falling(octave)
    found = [(1 - low**2).clamp_min(0).sqrt().to(torch.complex128)]
    for scale in range(1, scales_of(height, width) + 1):
        lower = _falling(octave + scale)
        ring = low * (1 - lower**2).clamp_min(0).sqrt()
        for direction in range(DIRECTIONS):
            towards = factor * (angle - math.pi * direction / DIRECTIONS).cos() ** power
            turned = 1j**power * towards if power % 2 else towards
            found.append((ring * turned).to(torch.complex128))
        low = low * lower
    found.append(low.to(torch.complex128))
    return torch.stack(found)


def _falling(octave: Tensor) -> Tensor:
    """1 an octave below, 0 from the given frequency on, a cosine between."""
    return torch.cos(math.pi / 2 * (octave + 1).clamp(0, 1))
