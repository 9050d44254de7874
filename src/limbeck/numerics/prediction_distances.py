"""How far two classifiers are apart on each image: one number an image, for means and for intervals alike."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import ConfigError
from limbeck.numerics.divergence import softened_kl
from limbeck.numerics.rank_correlation import pearson, spearman


def same_prediction(student: Tensor, teacher: Tensor) -> Tensor:
    """Whether both put the same class first.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes).

    Returns:
        1 or 0, shape (n,), float64.

    Example:
        >>> same_prediction(torch.eye(2), torch.tensor([[2.0, 1.0], [2.0, 1.0]]))
        tensor([1., 0.], dtype=torch.float64)
    """
    return (student.argmax(dim=1) == teacher.argmax(dim=1)).double()


def shared_top_k(student: Tensor, teacher: Tensor, *, k: int) -> Tensor:
    """Share of the teacher's k likeliest classes that are among the student's k likeliest.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes).
        k: between 1 and the number of classes; two that have nothing to do with each other share k / classes.

    Returns:
        Fractions, shape (n,), float64.

    Raises:
        ConfigError: k outside its range.

    Example:
        >>> shared_top_k(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[3.0, 1.0, 2.0]]), k=2)
        tensor([0.5000], dtype=torch.float64)
    """
    classes = student.shape[1]
    if not 1 <= k <= classes:
        raise ConfigError(f"shared_top_k: k must be between 1 and the {classes} classes, got {k}.")
    likeliest = [torch.zeros_like(x).scatter_(1, x.topk(k, dim=1).indices, 1.0) for x in (student, teacher)]
    return (likeliest[0].double() * likeliest[1].double()).sum(dim=1) / k


def teacher_kl(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Kullback-Leibler divergence KL(teacher || student).

    With the two exchanged it is the reverse divergence, which forgives what the student leaves out.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes).
        temperature: divides both logits, > 0.

    Returns:
        Nats, shape (n,), float64, never negative.

    Example:
        >>> teacher_kl(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])).round(decimals=4)
        tensor([0.1109], dtype=torch.float64)
    """
    return softened_kl(student.detach().double(), teacher.double(), temperature=temperature).clamp_min(0)


def jensen_shannon(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean divergence of both from their mixture: symmetric, and at most ln 2.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes).

    Returns:
        Nats, shape (n,), float64.

    Example:
        >>> jensen_shannon(torch.tensor([[99.0, -99.0]]), torch.tensor([[-99.0, 99.0]])).round(decimals=4)
        tensor([0.6931], dtype=torch.float64)
    """
    log_q, log_p = (F.log_softmax(x.detach().double(), dim=1) for x in (student, teacher))
    mixture = torch.logaddexp(log_p, log_q) - math.log(2)
    both = log_p.exp() * (log_p - mixture) + log_q.exp() * (log_q - mixture)
    return (both.sum(dim=1) / 2).clamp_min(0)


def variation(student: Tensor, teacher: Tensor) -> Tensor:
    """Total variation: the probability that one of them puts elsewhere.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes).

    Returns:
        Between 0 and 1, shape (n,), float64.

    Example:
        >>> variation(torch.zeros(1, 2), torch.tensor([[0.0, 99.0]]))
        tensor([0.5000], dtype=torch.float64)
    """
    q, p = (F.softmax(x.detach().double(), dim=1) for x in (student, teacher))
    return (p - q).abs().sum(dim=1) / 2


def logit_rank_correlation(student: Tensor, teacher: Tensor) -> Tensor:
    """Spearman's correlation of the logits: whether all classes stand in the same order.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes).

    Returns:
        Between -1 and 1, shape (n,), float64; NaN where all logits are equal.

    Example:
        >>> logit_rank_correlation(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 9.0, 10.0]]))
        tensor([1.], dtype=torch.float64)
    """
    return spearman(student, teacher)


def logit_cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """Cosine of the logits less their mean: what a softmax sees of them but for its temperature.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes).

    Returns:
        Between -1 and 1, shape (n,), float64; NaN where all logits are equal.

    Example:
        >>> logit_cosine(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 2.0, 4.0]])).round(decimals=6)
        tensor([1.], dtype=torch.float64)
    """
    return pearson(student, teacher)
