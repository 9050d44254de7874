"""Each image seen through two windows that lie a few pixels apart."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.audit.transforms.checks import need_images
from limbeck.bounds import NonNegativeInt
from limbeck.errors import ConfigError
from limbeck.seeding import derive, uniforms


def shift_pair(images: Tensor, index: Tensor, *, seed: int, pixels: NonNegativeInt = 4) -> tuple[Tensor, Tensor]:
    """Two random windows of the image's own size, up to this many pixels apart in each direction.

    The paper resizes to more than the input size and cuts both windows from that; images here have the input size
    already and are made larger by their own mirror image, `pixels` in all along each axis, half on either side.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        index: number of each image, shape (n,), int64.
        seed: of the draws.
        pixels: largest shift between the windows.

    Returns:
        Two tensors of the shape and kind of `images`; the images themselves, twice, for 0 pixels.

    Raises:
        ConfigError: a shift too large for the mirror image.
        ShapeError: images or index of another shape.
        DataError: images of whole numbers.

    References:
        Ojha et al., NeurIPS 2023, section 11.4 [ojha2023knowledge].
    """
    need_images("shift_pair", images, index)
    if not 0 <= pixels < 2 * min(images.shape[2:]) - 2 + (pixels == 0):
        raise ConfigError(
            f"shift_pair: images of {images.shape[2]} x {images.shape[3]} pixels can be shifted by 0 to "
            f"{2 * min(images.shape[2:]) - 3}; got {pixels}."
        )
    draws = uniforms(index.to(images.device), seed=derive(seed, "shifts"), epoch=1, draws=4)
    offset = (draws * (pixels + 1)).long().clamp(max=pixels) - pixels // 2
    return _window(images, offset[:, 0], offset[:, 1]), _window(images, offset[:, 2], offset[:, 3])


def _window(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    height, width = images.shape[2:]
    rows = _mirrored(torch.arange(height, device=images.device) + down[:, None], height)
    columns = _mirrored(torch.arange(width, device=images.device) + right[:, None], width)
    place = rows[:, :, None] * width + columns[:, None, :]
    found = images.flatten(2).gather(2, place.flatten(1)[:, None].expand(-1, images.shape[1], -1))
    return found.view_as(images)


def _mirrored(place: Tensor, length: int) -> Tensor:
    place = place.abs()
    return torch.minimum(place, 2 * (length - 1) - place)
