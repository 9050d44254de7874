"""Other colours: brightness, contrast, saturation and hue, in an order of each image's own."""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from limbeck.audit.transforms.checks import need_images
from limbeck.bounds import Fraction
from limbeck.errors import ConfigError
from limbeck.seeding import derive, uniforms
from limbeck.sources.pixel_ops import scale_brightness, scale_contrast, scale_saturation, shift_hue

_ORDERS = tuple(permutations(range(4)))
_CHANGES = (scale_brightness, scale_contrast, scale_saturation, shift_hue)


def colour_change(
    images: Tensor, index: Tensor, *, seed: int, strength: Fraction = 0.4, hue: Fraction = 0.2
) -> Tensor:
    """Brightness, contrast, saturation and hue changed at random, one after the other in random order.

    What torchvision's `ColorJitter(strength, strength, strength, hue)` does, with draws that depend on the image's
    number alone. The draws of all strengths are the same, so a stronger change is more of the same change.

    Args:
        images: shape (n, c, h, w), floats in [0, 1]; of other than three channels they have no saturation and hue.
        index: number of each image, shape (n,), int64.
        seed: of the draws.
        strength: the three factors lie from 1 - strength to 1 + strength. 0.4 is how the paper's teacher was
            trained.
        hue: the turn lies from -hue to hue of the colour circle, at most 0.5; 0.2 is the paper's.

    Returns:
        Shape and kind of `images`; the images themselves where both are 0.

    Raises:
        ConfigError: a hue of more than half the circle.
        ShapeError: images or index of another shape.
        DataError: images of whole numbers.

    References:
        Ojha et al., NeurIPS 2023, section 4.3 [ojha2023knowledge].
    """
    need_images("colour_change", images, index)
    if not 0 <= hue <= 0.5:
        raise ConfigError(f"colour_change: hue turns by at most half the circle, 0.5; got {hue}.")
    draws = uniforms(index.to(images.device), seed=derive(seed, "colour"), epoch=1, draws=5)
    signed = draws * 2 - 1
    active = [hue > 0 if change == 3 else strength > 0 for change in range(4)]
    amounts = [*(1 + strength * signed[:, :3]).unbind(dim=1), hue * signed[:, 3]]
    order = torch.tensor(_ORDERS, device=images.device)[(draws[:, 4] * len(_ORDERS)).long()]
    for place in range(4):
        changed = images.clone()
        for change, function in enumerate(_CHANGES):
            rows = (order[:, place] == change).nonzero()[:, 0]
            if active[change] and len(rows):
                changed[rows] = function(images[rows], amounts[change][rows])
        images = changed
    return images
