"""Whether a model is as right as it is sure."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.bounds import PositiveInt
from limbeck.numerics.checks import class_indices, require_above, require_same, require_samples


@torch.no_grad()
def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """Mean negative log probability of the label (cross entropy).

    Args:
        logits: shape (n, classes).
        labels: shape (n,), or one-hot (n, classes).

    Returns:
        Nats.

    Example:
        >>> round(negative_log_likelihood(torch.zeros(1, 2), torch.tensor([0])), 4)
        0.6931
    """
    require_same("negative_log_likelihood", "n c", logits=logits)
    require_samples("negative_log_likelihood", logits)
    index = class_indices("negative_log_likelihood", labels, logits).to(logits.device)
    return F.cross_entropy(logits.double(), index).item()


@torch.no_grad()
def expected_calibration_error(logits: Tensor, labels: Tensor, *, bins: PositiveInt = 15) -> float:
    """Mean gap between confidence and accuracy over bins of equal width in confidence.

    Args:
        logits: shape (n, classes).
        labels: shape (n,), or one-hot (n, classes).
        bins: how many.

    Returns:
        A fraction between 0 and 1; each bin counts by its share of the samples.

    Example:
        >>> expected_calibration_error(torch.tensor([[100.0, 0.0]] * 2), torch.tensor([0, 1]))
        0.5

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017 [guo2017calibration].
    """
    require_same("expected_calibration_error", "n c", logits=logits)
    require_above("expected_calibration_error", 0, bins=bins)
    require_samples("expected_calibration_error", logits)
    index = class_indices("expected_calibration_error", labels, logits).to(logits.device)
    confidence, predicted = F.softmax(logits.double(), dim=1).max(dim=1)
    gaps = (predicted == index).double() - confidence
    # Bins are open on the left, closed on the right; a confidence is never 0.
    place = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    return torch.zeros(bins, dtype=torch.float64).index_add_(0, place.cpu(), gaps.cpu()).abs().sum().item() / len(
        gaps
    )
