"""Focal loss with a sigmoid for each class: classifiers whose logits are to fit detectors of that kind."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le
from torch import Tensor
from torch.nn import functional as F

from limbeck.bounds import NonNegative
from limbeck.numerics.checks import class_indices, require_same
from limbeck.numerics.precision import promoted


def sigmoid_focal(
    student: Tensor,
    labels: Tensor,
    *,
    alpha: Annotated[float, Ge(-1), Le(1)] = 0.25,
    gamma: NonNegative = 2.0,
) -> Tensor:
    r"""A yes or no for each class, easy answers counting less, summed over the classes.

    .. math:: \ell_i = \sum_k \alpha_{ik} |y_{ik} - p_{ik}|^\gamma \,
        \mathrm{BCE}(p_{ik}, y_{ik}), \quad p = \sigma(s)

    with alpha for the right class and 1 - alpha for the others. Added to the cross entropy it makes a classifier
    whose logits can teach detectors with softmax heads and those with sigmoid heads alike.

    Args:
        student: logits, shape (n, classes).
        labels: class indices, shape (n,), or target shares, shape (n, classes).
        alpha: weight of the right class, between 0 and 1; -1 leaves the balance out. 0.25 as in RetinaNet.
        gamma: how much less easy answers count; 2 as in RetinaNet, 0 is the plain binary cross entropy.

    Returns:
        One value per sample, in nats, shape (n,).

    Raises:
        ShapeError: logits or labels of the wrong shape.
        DataError: a label that is no class.

    Example:
        >>> import torch
        >>> sigmoid_focal(torch.zeros(1, 2), torch.tensor([0]), alpha=-1, gamma=0).round(decimals=4)
        tensor([1.3863])

    References:
        Lin et al., Focal Loss for Dense Object Detection, 2017 [lin2017retinanet]; for teachers of detectors
        [guo2021distilling], section 4.1.
    """
    require_same("sigmoid_focal", "n c", student=student)
    (logits,) = promoted(student)
    if labels.dim() == 2 and labels.shape == student.shape:
        target = labels.detach().to(logits.dtype)
    else:
        indices = class_indices("sigmoid_focal", labels, student)
        target = F.one_hot(indices, logits.shape[1]).to(logits.dtype)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    values = (target - logits.sigmoid()).abs().pow(gamma) * entropy
    if alpha >= 0:
        values = values * (alpha * target + (1 - alpha) * (1 - target))
    return values.sum(1)
