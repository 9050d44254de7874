"""What each pixel adds to the score of a class, to first order."""

from __future__ import annotations

from torch import Tensor, nn

from limbeck.audit.attribution.input_gradient import require_no_layer
from limbeck.audit.attribution.pixel_gradients import input_gradients


def gradient_times_input(
    network: nn.Module, images: Tensor, targets: Tensor, *, layer: str | None = None
) -> Tensor:
    """Gradient of the logit times the pixel, summed over the channels; signed.

    The pixels are those in [0, 1], so black ones get nothing.

    Args:
        network: images in [0, 1] to logits; see `limbeck.audit.subjects.Network`.
        images: in [0, 1], shape (n, c, h, w).
        targets: the class asked about, shape (n,), int64.
        layer: has to be left out; pixels are read.

    Returns:
        Maps of the images' size, shape (n, h, w), of either sign, unscaled.

    Raises:
        ModelError: a network that takes no gradients.
        DataError: gradients that are not finite.
        ConfigError: a layer was named.

    References:
        Gradient times input [shrikumar2017learning].
    """
    require_no_layer("gradient_times_input", layer)
    return (input_gradients(network, images, targets) * images).sum(dim=1)
