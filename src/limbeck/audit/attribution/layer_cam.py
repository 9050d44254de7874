"""LayerCAM: every place of a map times what of its gradient speaks for the class."""

from __future__ import annotations

from torch import Tensor, nn

from limbeck.audit.attribution.reading import read_map


def layer_cam(network: nn.Module, images: Tensor, targets: Tensor, *, layer: str | None = None) -> Tensor:
    """ReLU of the sum over channels of map times the positive part of its gradient, place by place.

    Works for early layers too, whose maps are finer.

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
        LayerCAM [jiang2021layercam].
    """
    maps, gradients = read_map(network, images, targets, layer)
    return (gradients.relu() * maps).sum(dim=1).relu()
