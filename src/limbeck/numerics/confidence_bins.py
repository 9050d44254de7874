"""Images sorted by how sure a classifier is of them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def confidence_bins(logits: Tensor, labels: Tensor, *, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """The bin, the confidence and the correctness of every image.

    Bins have equal width and are open on the left, closed on the right; a confidence is never 0.

    Args:
        logits: shape (n, classes).
        labels: class indices, shape (n,).
        bins: how many, at least 1.

    Returns:
        Bin, 0 to bins - 1, int64; probability of the predicted class and 1 where that is the label, float64; each
        of shape (n,).

    Example:
        >>> import torch
        >>> confidence_bins(torch.tensor([[0.0, 0.0], [99.0, 0.0]]), torch.tensor([0, 1]), bins=2)[0]
        tensor([0, 1])
    """
    confidence, predicted = F.softmax(logits.detach().double(), dim=1).max(dim=1)
    place = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    return place, confidence, (predicted == labels).double()
