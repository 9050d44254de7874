"""Cross entropy with the labels: what every student learns beside its teacher."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from limbeck.bounds import Fraction
from limbeck.errors import ConfigError
from limbeck.numerics.checks import class_indices, require_same
from limbeck.numerics.precision import promoted


def cross_entropy(student: Tensor, labels: Tensor, *, label_smoothing: Fraction = 0.0) -> Tensor:
    r"""Negative log probability of the label, per sample.

    .. math:: \ell_i = -\sum_k y_{ik} \log \mathrm{softmax}(s_i)_k

    Args:
        student: logits, shape (n, classes).
        labels: class indices, shape (n,), or target distributions, shape (n, classes).
        label_smoothing: share of the target spread evenly over all classes, between 0 and 1.

    Returns:
        One value per sample, in nats, shape (n,).

    Raises:
        ShapeError: logits or labels of the wrong shape.
        DataError: a label that is no class.

    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3])).round(decimals=4)
        tensor([1.3863, 1.3863])
    """
    require_same("cross_entropy", "n c", student=student)
    if not 0 <= label_smoothing <= 1:
        raise ConfigError(f"cross_entropy: label_smoothing must be between 0 and 1, got {label_smoothing!r}.")
    (logits,) = promoted(student)
    soft = labels.dim() == 2 and labels.shape == student.shape
    target = labels.detach().to(logits.dtype) if soft else class_indices("cross_entropy", labels, student)
    return F.cross_entropy(logits, target, reduction="none", label_smoothing=label_smoothing)
