"""Saliency: how strongly the score of a class reacts to each pixel."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from limbeck.audit.attribution.pixel_gradients import input_gradients
from limbeck.errors import ConfigError


def input_gradient(
    network: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    layer: str | None = None,
    channels: Literal["max", "sum"] = "max",
) -> Tensor:
    """Absolute gradient of the logit with respect to the pixels, over the channels.

    Args:
        network: images in [0, 1] to logits; see `limbeck.audit.subjects.Network`.
        images: in [0, 1], shape (n, c, h, w).
        targets: the class asked about, shape (n,), int64.
        layer: has to be left out; pixels are read.
        channels: the largest value of a pixel's channels, as in the paper, or their sum.

    Returns:
        Maps of the images' size, shape (n, h, w), at least zero, unscaled.

    Raises:
        ModelError: a network that takes no gradients.
        DataError: gradients that are not finite.
        ConfigError: a layer was named.

    References:
        Image-specific saliency [simonyan2014deep], section 3.1.
    """
    require_no_layer("input_gradient", layer)
    if channels not in ("max", "sum"):
        raise ConfigError(f"input_gradient: channels is 'max' or 'sum', got {channels!r}.")
    found = input_gradients(network, images, targets).abs()
    return found.amax(dim=1) if channels == "max" else found.sum(dim=1)


def require_no_layer(where: str, layer: str | None) -> None:
    """Require that no layer was named for a method that reads pixels.

    Raises:
        ConfigError: one was.
    """
    if layer is not None:
        raise ConfigError(f"{where} reads pixels and takes no layer, got layer: {layer!r}. Leave it out.")
