"""Images with the Fourier phase of one image and the amplitude of another."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.audit.transforms.checks import need_images
from limbeck.errors import ShapeError


def phase_swap(shape: Tensor, texture: Tensor) -> Tensor:
    """The phase of one image, which holds its contours, with the amplitude of another, which holds its statistics.

    Args:
        shape: images whose phase is kept, shape (n, c, h, w), floats in [0, 1].
        texture: images whose amplitude is kept, of the same shape.

    Returns:
        Shape and kind of `shape`, cut off at [0, 1].

    Raises:
        ShapeError: other shapes.
        DataError: images of whole numbers.

    References:
        Oppenheim and Lim, The importance of phase in signals, Proceedings of the IEEE 1981 [oppenheim1981phase].
    """
    need_images("phase_swap", shape)
    need_images("phase_swap", texture)
    if shape.shape != texture.shape:
        raise ShapeError(
            f"phase_swap takes two sets of one shape; got {tuple(shape.shape)} and {tuple(texture.shape)}."
        )
    kept = torch.fft.fft2(shape.to(torch.float64))
    size = kept.abs()
    phase = torch.where(size > 1e-12, kept / size.clamp_min(1e-12), torch.ones_like(kept))
    amplitude = torch.fft.fft2(texture.to(torch.float64)).abs()
    mixed: Tensor = torch.fft.ifft2(amplitude * phase).real
    return mixed.clamp(0, 1).to(shape.dtype)
