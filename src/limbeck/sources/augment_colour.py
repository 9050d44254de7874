"""Random changes of colour, of whole batches, each image by its own uniform numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.bounds import Fraction
from limbeck.sources.augment import need_floats
from limbeck.sources.pixel_ops import grey, scale_brightness, scale_contrast, scale_saturation, shift_hue


def colour_jitter(
    images: Tensor,
    draws: Tensor,
    *,
    brightness: Fraction = 0.4,
    contrast: Fraction = 0.4,
    saturation: Fraction = 0.4,
    hue: Fraction = 0.0,
) -> Tensor:
    """Brightness, contrast, saturation and hue changed one after the other, each by a random amount.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        draws: shape (n, DRAWS); four are used.
        brightness: the factor lies from 1 - brightness to 1 + brightness.
        contrast: likewise, about the image's own mean.
        saturation: likewise, about grey; images of other than three channels have none.
        hue: the turn lies from -hue / 2 to hue / 2 of the colour circle.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: images of whole numbers.
    """
    need_floats("colour_jitter", images)
    signed = draws * 2 - 1
    images = scale_brightness(images, 1 + brightness * signed[:, 0])
    images = scale_contrast(images, 1 + contrast * signed[:, 1])
    images = scale_saturation(images, 1 + saturation * signed[:, 2])
    return shift_hue(images, 0.5 * hue * signed[:, 3]) if hue else images


def greyscale(images: Tensor, draws: Tensor, *, probability: Fraction = 0.2) -> Tensor:
    """Colours taken away, for a share of the images.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        draws: shape (n, DRAWS); one is used.
        probability: of losing the colours.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: images of whole numbers.
    """
    need_floats("greyscale", images)
    chosen = (draws[:, 0] < probability)[:, None, None, None]
    return torch.where(chosen, grey(images).expand_as(images), images)
