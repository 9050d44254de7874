"""How often the right class is predicted."""

from __future__ import annotations

from torch import Tensor

from limbeck.bounds import PositiveInt
from limbeck.errors import ConfigError
from limbeck.numerics.checks import class_indices, require_same, require_samples


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Fraction of samples whose largest logit is the label's.

    Args:
        logits: shape (n, classes).
        labels: shape (n,), or one-hot (n, classes).

    Returns:
        A fraction.

    Raises:
        DataError: there is no sample.

    Example:
        >>> import torch
        >>> accuracy(torch.eye(4), torch.tensor([0, 1, 2, 0]))
        0.75
    """
    return top_k_accuracy(logits, labels, k=1)


def top_k_accuracy(logits: Tensor, labels: Tensor, *, k: PositiveInt = 5) -> float:
    """Fraction of samples whose label is among the k largest logits.

    Args:
        logits: shape (n, classes), at least k classes.
        labels: shape (n,), or one-hot (n, classes).
        k: how many guesses count.

    Returns:
        A fraction.

    Raises:
        ConfigError: k is larger than the number of classes.
        DataError: there is no sample.

    Example:
        >>> import torch
        >>> top_k_accuracy(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([1]), k=2)
        1.0
    """
    require_same("accuracy", "n c", logits=logits)
    if not 1 <= k <= logits.shape[1]:
        raise ConfigError(f"top_k_accuracy: k must be between 1 and the {logits.shape[1]} classes, got {k}.")
    require_samples("accuracy", logits)
    index = class_indices("accuracy", labels, logits).to(logits.device)
    hits = logits.topk(k, dim=1).indices == index[:, None]
    return hits.any(dim=1).double().mean().item()
