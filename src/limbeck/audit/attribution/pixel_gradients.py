"""The gradient of a class score with respect to the pixels."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from limbeck.audit.attribution.reading import class_scores, require_targets
from limbeck.errors import ConfigError, DataError, ModelError
from limbeck.models.outputs import logits_of
from limbeck.taps import evaluating


def input_gradients(
    network: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    score: Literal["logit", "log_probability"] = "logit",
) -> Tensor:
    """How the score of a class changes with each pixel, signed.

    Args:
        network: images in [0, 1] to logits; its normalisation is a part of it, so all gradients are per unit of
            the same pixels.
        images: in [0, 1], shape (n, c, h, w).
        targets: the class asked about, shape (n,), int64.
        score: the logit of the class, or the logarithm of its probability, whose gradient takes all classes in.

    Returns:
        Shape and kind of `images`.

    Raises:
        ModelError: a network that takes no gradients.
        DataError: gradients that are not finite, or a class that the network does not know.
        ShapeError: targets of another shape or kind.

    Example:
        >>> from torch import nn
        >>> input_gradients(nn.Flatten(), torch.zeros(1, 2, 1, 1), torch.tensor([1])).flatten().tolist()
        [0.0, 1.0]
    """
    if score not in ("logit", "log_probability"):
        raise ConfigError(f"input_gradients: score is 'logit' or 'log_probability', got {score!r}.")
    require_targets(images, targets)
    pixels = images.detach().clone().requires_grad_()
    with evaluating(network), torch.enable_grad():
        logits = logits_of(network(pixels))
        if score == "log_probability":
            logits = logits.log_softmax(dim=1)
        total = class_scores(logits, targets).sum()
    found = torch.autograd.grad(total, pixels, allow_unused=True)[0] if total.requires_grad else None
    if found is None:
        raise ModelError(
            f"{type(network).__name__} takes no gradients with respect to its images (it detaches them, rounds "
            "them or runs in inference mode), so neither saliency nor attacks can be computed."
        )
    broken = ~found.isfinite().flatten(1).all(dim=1)
    if bool(broken.any()):
        raise DataError(
            f"the gradient with respect to the images is not finite, first for image {int(broken.nonzero()[0])} "
            f"of the batch ({int(broken.sum())} of {len(found)} in all). Are the images finite, and did the "
            "training of the network converge?"
        )
    return found
