"""Which class is taken for which."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.numerics.checks import class_indices, require_same


def confusion_matrix(logits: Tensor, labels: Tensor) -> Tensor:
    """How often each class (row) was predicted as each class (column).

    Args:
        logits: shape (n, classes).
        labels: shape (n,), or one-hot (n, classes).

    Returns:
        Counts, shape (classes, classes), int64, on the CPU.

    Example:
        >>> confusion_matrix(torch.eye(2), torch.tensor([0, 0]))
        tensor([[1, 1],
                [0, 0]])
    """
    require_same("confusion_matrix", "n c", logits=logits)
    classes = logits.shape[1]
    true = class_indices("confusion_matrix", labels, logits).cpu()
    predicted = logits.argmax(dim=1).cpu()
    return torch.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)


def per_class_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Fraction of each class's samples that are predicted right.

    Args:
        logits: shape (n, classes).
        labels: shape (n,), or one-hot (n, classes).

    Returns:
        Fractions, shape (classes,), float64; not a number for a class without samples.

    Example:
        >>> per_class_accuracy(torch.eye(2), torch.tensor([0, 0]))
        tensor([0.5000,    nan], dtype=torch.float64)
    """
    counts = confusion_matrix(logits, labels).double()
    return counts.diagonal() / counts.sum(dim=1)
