"""Occlusion: how much the score of a class falls when a patch is covered."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limbeck.audit.attribution.input_gradient import require_no_layer
from limbeck.audit.attribution.integrated_gradients import captum_attr, require_finite
from limbeck.audit.attribution.reading import class_scores, require_targets
from limbeck.bounds import Fraction, PositiveInt
from limbeck.errors import ConfigError
from limbeck.models.outputs import logits_of
from limbeck.taps import evaluating


def occlusion(
    network: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    layer: str | None = None,
    window: PositiveInt = 8,
    stride: PositiveInt = 4,
    baseline: Fraction = 0.5,
) -> Tensor:
    """Fall of the logit for each place of a grey square, each pixel the mean over the squares that cover it.

    Takes a pass forward for every place of the square: (1 + (h - window) / stride) times as many for the width.

    Args:
        network: images in [0, 1] to logits; see `limbeck.audit.subjects.Network`.
        images: in [0, 1], shape (n, c, h, w).
        targets: the class asked about, shape (n,), int64.
        layer: has to be left out; pixels are covered.
        window: side of the square in pixels; a quarter of a small image.
        stride: pixels from one place to the next, at most `window`.
        baseline: grey level of the square in [0, 1].

    Returns:
        Maps of the images' size, shape (n, h, w), in logits, of either sign.

    Raises:
        MissingExtraError: Captum is not installed.
        ConfigError: a layer was named, or a square larger than the image.
        DataError: values that are not finite.

    References:
        Covering patches [zeiler2014visualizing], section 4.2, computed by Captum.
    """
    require_no_layer("occlusion", layer)
    require_targets(images, targets)
    channels, height, width = images.shape[1:]
    if not 1 <= window <= min(height, width) or not 1 <= stride <= window or not 0 <= baseline <= 1:
        raise ConfigError(
            f"occlusion: window is from 1 to the side of the image ({min(height, width)} pixels), stride from 1 "
            f"to window, baseline in [0, 1]; got {window}, {stride} and {baseline}."
        )

    def scores(pixels: Tensor, classes: Tensor) -> Tensor:
        return class_scores(logits_of(network(pixels)), classes)

    method = captum_attr("occlusion").Occlusion(scores)
    with evaluating(network), torch.no_grad():
        found = method.attribute(
            images.detach(),
            sliding_window_shapes=(channels, window, window),
            strides=(channels, stride, stride),
            baselines=float(baseline),
            additional_forward_args=(targets,),
        )
    # All channels are covered at once, so each holds the same map.
    return require_finite("occlusion", found[:, 0].to(images.dtype))
