"""Integrated gradients: what each pixel adds to the score on the way from an empty image."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from limbeck.audit.attribution.input_gradient import require_no_layer
from limbeck.audit.attribution.reading import class_scores, require_targets
from limbeck.bounds import Fraction, PositiveInt
from limbeck.errors import ConfigError, DataError, MissingExtraError
from limbeck.models.outputs import logits_of
from limbeck.taps import evaluating


def integrated_gradients(
    network: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    layer: str | None = None,
    steps: PositiveInt = 32,
    baseline: Fraction = 0.0,
) -> Tensor:
    """Mean gradient of the logit on the straight way from a plain image, times the way; summed over the channels.

    Signed: the map sums to the logit of the image less that of the plain image, up to the error of the integral.

    Args:
        network: images in [0, 1] to logits; see `limbeck.audit.subjects.Network`.
        images: in [0, 1], shape (n, c, h, w).
        targets: the class asked about, shape (n,), int64.
        layer: has to be left out; pixels are read.
        steps: places on the way, each a pass forward and back; the paper takes 20 to 300.
        baseline: grey level of the plain image in [0, 1]; the paper takes black.

    Returns:
        Maps of the images' size, shape (n, h, w), of either sign, unscaled.

    Raises:
        MissingExtraError: Captum is not installed.
        ConfigError: a layer was named, or settings out of their range.
        DataError: values that are not finite.

    References:
        Integrated gradients [sundararajan2017axiomatic], eq. 3, computed by Captum.
    """
    require_no_layer("integrated_gradients", layer)
    require_targets(images, targets)
    if steps < 1 or not 0 <= baseline <= 1:
        raise ConfigError(
            f"integrated_gradients: steps is at least 1 and baseline in [0, 1]; got {steps} and {baseline}."
        )
    method = captum_attr("integrated_gradients").IntegratedGradients(_scores(network))
    with evaluating(network):
        # One step of the way at a time keeps the memory at that of one batch.
        found = method.attribute(
            images.detach().clone().requires_grad_(),
            baselines=float(baseline),
            additional_forward_args=(targets,),
            n_steps=steps,
            internal_batch_size=len(images),
        )
    return require_finite("integrated_gradients", found.detach().sum(dim=1).to(images.dtype))


def captum_attr(purpose: str) -> Any:
    """The package of attributions that Captum brings.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import captum.attr
    except ImportError as error:
        raise MissingExtraError.of("captum", "audit", purpose) from error
    return captum.attr


def require_finite(where: str, maps: Tensor) -> Tensor:
    """The maps, every value finite.

    Raises:
        DataError: one is not.
    """
    broken = ~maps.isfinite().flatten(1).all(dim=1)
    if bool(broken.any()):
        raise DataError(
            f"{where}: the map of image {int(broken.nonzero()[0])} of the batch is not finite. Are the images "
            "finite, and did the training of the network converge?"
        )
    return maps


def _scores(network: nn.Module) -> Any:
    def scores(images: Tensor, targets: Tensor) -> Tensor:
        return class_scores(logits_of(network(images)), targets)

    return scores
