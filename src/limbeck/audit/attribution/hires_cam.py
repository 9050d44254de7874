"""HiResCAM: every place of the last map times its own gradient."""

from __future__ import annotations

from torch import Tensor, nn

from limbeck.audit.attribution.reading import read_map


def hires_cam(network: nn.Module, images: Tensor, targets: Tensor, *, layer: str | None = None) -> Tensor:
    """ReLU of the sum over channels of map times gradient, place by place.

    Args:
        network: images in [0, 1] to logits; see `limbeck.audit.subjects.Network`.
        images: in [0, 1], shape (n, c, h, w).
        targets: the class asked about, shape (n,), int64.
        layer: tap path relative to `network.model`; the last convolutional stage unless given.

    Returns:
        Maps of the layer's size, shape (n, rows, columns), at least zero, unscaled.

    Raises:
        TapError: no such layer, or one without influence on the logits.
        DataError: values that are not finite.

    References:
        HiResCAM [draelos2020hirescam]; the same as Grad-CAM in front of a global average and one linear layer.
    """
    maps, gradients = read_map(network, images, targets, layer)
    return (gradients * maps).sum(dim=1).relu()
