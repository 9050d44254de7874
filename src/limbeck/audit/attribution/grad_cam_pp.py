"""Grad-CAM++: as Grad-CAM, with weights that do not favour large regions over small ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limbeck.audit.attribution.reading import read_map

_GUARD = 1e-6


def grad_cam_pp(network: nn.Module, images: Tensor, targets: Tensor, *, layer: str | None = None) -> Tensor:
    """ReLU of the sum of all channels; only the positive places of a gradient count, each with its share.

    The shares come from second and third derivatives of the exponential of the logit, which are powers of its
    first derivative where the network behind the layer is linear.

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
        Grad-CAM++ [chattopadhay2018grad]; the gradient is that of the logit, without the factor exp(logit).
    """
    maps, gradients = read_map(network, images, targets, layer)
    squares = gradients.square()
    below = 2 * squares + maps.sum(dim=(2, 3), keepdim=True) * squares * gradients
    shares = torch.where(gradients != 0, squares / (below + _GUARD), 0.0)
    weights = (gradients.relu() * shares).sum(dim=(2, 3), keepdim=True)
    return (weights * maps).sum(dim=1).relu()
