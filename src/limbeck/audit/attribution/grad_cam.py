"""Grad-CAM: the channels of the last map, weighted by how much each speaks for a class."""

from __future__ import annotations

from torch import Tensor, nn

from limbeck.audit.attribution.reading import read_map


def grad_cam(network: nn.Module, images: Tensor, targets: Tensor, *, layer: str | None = None) -> Tensor:
    """ReLU of the sum of all channels, each times the mean over places of its gradient.

    Args:
        network: images in [0, 1] to logits; see `limbeck.audit.subjects.Network`.
        images: in [0, 1], shape (n, c, h, w).
        targets: the class asked about, shape (n,), int64; the paper on what is distilled asks about the label.
        layer: tap path relative to `network.model`; the last convolutional stage unless given.

    Returns:
        Maps of the layer's size, shape (n, rows, columns), at least zero, unscaled.

    Raises:
        TapError: no such layer, or one without influence on the logits.
        DataError: values that are not finite.

    References:
        Grad-CAM [selvaraju2017grad], eq. 1 and 2; used for distilled networks in section 4.1 of
        [ojha2023knowledge].
    """
    maps, gradients = read_map(network, images, targets, layer)
    return (gradients.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1).relu()
