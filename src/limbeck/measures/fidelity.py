"""How closely a student follows its teacher, beyond the class that both put first.

Two accurate networks agree because they are right. Whether a student became like its teacher shows in what is
left: agreement beyond chance, the errors they share, the order of all classes, the distance of the distributions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.bounds import PositiveInt
from limbeck.errors import ConfigError
from limbeck.numerics.chance_agreement import kappa
from limbeck.numerics.checks import class_indices, require_same, require_samples
from limbeck.numerics.prediction_distances import jensen_shannon, logit_rank_correlation, shared_top_k, variation


@torch.no_grad()
def top_k_overlap(student: Tensor, teacher: Tensor, *, k: PositiveInt = 5) -> float:
    """Mean share of the teacher's k likeliest classes that are among the student's k likeliest.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes).
        k: how many; at most the number of classes.

    Returns:
        A fraction; k / classes for networks that have nothing to do with each other.

    Raises:
        ConfigError: k above the number of classes.

    Example:
        >>> top_k_overlap(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[3.0, 1.0, 2.0]]), k=2)
        0.5
    """
    _require("top_k_overlap", student, teacher)
    if not 1 <= k <= student.shape[1]:
        raise ConfigError(f"top_k_overlap: k must be between 1 and the {student.shape[1]} classes, got {k}.")
    return shared_top_k(student, teacher, k=k).mean().item()


@torch.no_grad()
def js_divergence(student: Tensor, teacher: Tensor) -> float:
    """Mean Jensen-Shannon divergence of the two distributions over classes.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes).

    Returns:
        Nats, between 0 and ln 2; the same with the two exchanged.

    Example:
        >>> round(js_divergence(torch.tensor([[99.0, -99.0]]), torch.tensor([[-99.0, 99.0]])), 4)
        0.6931

    References:
        Lin, Divergence Measures Based on the Shannon Entropy, IEEE Transactions on Information Theory 1991
        [lin1991divergence].
    """
    _require("js_divergence", student, teacher)
    return jensen_shannon(student, teacher).mean().item()


@torch.no_grad()
def total_variation(student: Tensor, teacher: Tensor) -> float:
    """Mean total variation distance: the probability that the student puts on other classes than the teacher.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes).

    Returns:
        Between 0 and 1.

    Example:
        >>> total_variation(torch.zeros(1, 2), torch.tensor([[0.0, 99.0]]))
        0.5
    """
    _require("total_variation", student, teacher)
    return variation(student, teacher).mean().item()


@torch.no_grad()
def rank_correlation(student: Tensor, teacher: Tensor) -> float:
    """Mean of Spearman's correlation between the logits of an image: whether the classes stand in the same order.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes).

    Returns:
        Between -1 and 1; images whose logits are all equal on a side do not count, and NaN is returned where none
        is left.

    Example:
        >>> rank_correlation(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 9.0, 10.0]]))
        1.0
    """
    _require("rank_correlation", student, teacher)
    return logit_rank_correlation(student, teacher).nanmean().item()


@torch.no_grad()
def cohen_kappa(student: Tensor, teacher: Tensor) -> float:
    """Cohen's kappa of the predicted classes: agreement beyond that of two who guess, each in its own proportions.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes).

    Returns:
        At most 1, 0 by chance; NaN where both predict one and the same class for every image.

    Example:
        >>> cohen_kappa(torch.eye(2)[[0, 0, 1, 1]], torch.eye(2)[[0, 0, 1, 0]])
        0.5

    References:
        Cohen, A Coefficient of Agreement for Nominal Scales, Educational and Psychological Measurement 1960
        [cohen1960coefficient].
    """
    _require("cohen_kappa", student, teacher)
    return _kappa(student.argmax(dim=1), teacher.argmax(dim=1), student.shape[1])


@torch.no_grad()
def error_consistency(student: Tensor, teacher: Tensor, labels: Tensor) -> float:
    """Kappa of being right: whether both fail on the same images more often than their accuracies make them.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes).
        labels: shape (n,), or one-hot (n, classes).

    Returns:
        At most 1, 0 by chance; NaN where both are always right, or both always wrong.

    Example:
        >>> student, teacher = torch.eye(2)[[0, 0, 1, 1]], torch.eye(2)[[0, 0, 1, 0]]
        >>> error_consistency(student, teacher, torch.zeros(4, dtype=torch.long))
        0.5

    References:
        Geirhos et al., Beyond Accuracy: Quantifying Trial-by-Trial Behaviour of CNNs and Humans by Measuring Error
        Consistency, NeurIPS 2020, equations 1 to 3 [geirhos2020beyond].
    """
    _require("error_consistency", student, teacher)
    index = class_indices("error_consistency", labels, student).to(student.device)
    return _kappa((student.argmax(dim=1) == index).long(), (teacher.argmax(dim=1) == index).long(), 2)


@torch.no_grad()
def same_mistake_rate(student: Tensor, teacher: Tensor, labels: Tensor) -> float:
    """Among the images that the teacher gets wrong, the share that the student takes for the same wrong class.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes).
        labels: shape (n,), or one-hot (n, classes).

    Returns:
        A fraction; NaN where the teacher makes no mistake.

    Example:
        >>> predictions = torch.eye(3)[[1, 2, 2]]
        >>> same_mistake_rate(torch.eye(3)[[1, 1, 2]], predictions, torch.tensor([0, 0, 2]))
        0.5
    """
    _require("same_mistake_rate", student, teacher)
    index = class_indices("same_mistake_rate", labels, student).to(student.device)
    answers = teacher.argmax(dim=1)
    mistaken = answers != index
    return (student.argmax(dim=1) == answers)[mistaken].double().mean().item()


def _require(where: str, student: Tensor, teacher: Tensor) -> None:
    require_same(where, "n c", student=student, teacher=teacher)
    require_samples(where, student)


def _kappa(left: Tensor, right: Tensor, answers: int) -> float:
    counts = [torch.bincount(x, minlength=answers).double() for x in (left, right)]
    return kappa((left == right).sum().double(), *counts).item()
