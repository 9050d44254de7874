"""WKD-L: Wasserstein distance between class probabilities, with a cost between classes [lv2024wasserstein].

Confusing a class with one that the teacher finds similar costs less than with one it finds different. The
probability of the label itself is treated apart (`wkd_target`), the rest is transported (`wkd_transport`).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.bounds import NonNegative, Positive, PositiveInt
from limbeck.errors import ShapeError
from limbeck.numerics.checks import class_indices, require_above, require_cost, require_same
from limbeck.numerics.divergence import softmax_without
from limbeck.numerics.precision import promoted
from limbeck.numerics.transport import truncated_transport
from limbeck.numerics.transport_converged import converged_transport

COST_FLOOR = 1e-8
"""Added to the cost, diagonal included, after negative entries are set to zero."""


def wkd_logit(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    cost: Tensor,
    *,
    transport_weight: NonNegative = 600.0,
    temperature: Positive = 8.0,
    reg: Positive = 0.05,
    iterations: PositiveInt = 10,
) -> Tensor:
    r"""The whole published objective on logits: target term plus weighted transport, per sample.

    For a loop of your own. Where the weight of the transport decays over training, as it does in the paper, add
    `wkd_target` and `wkd_transport` yourself, the latter times `limbeck.numerics.decay.cosine_decay`.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes); no gradient flows into them.
        labels: class indices (n,), or one-hot or soft labels (n, classes), whose largest entry counts.
        cost: ground cost between classes, shape (classes, classes), e.g. from
            `limbeck.numerics.class_relations`.
        transport_weight: factor of the transport term.
        temperature: divides the logits of the transported part.
        reg: strength of the entropy.
        iterations: Sinkhorn iterations, 10 in all published settings.

    Returns:
        One value per sample, shape (n,).

    Raises:
        ShapeError: logits, labels and cost do not fit together.

    Example:
        >>> logits = torch.zeros(2, 3)
        >>> wkd_logit(logits, logits, torch.tensor([0, 1]), 1 - torch.eye(3)).shape
        torch.Size([2])

    References:
        Lv, Yang, Li, Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge Distillation, NeurIPS
        2024 [lv2024wasserstein]. Defaults: CIFAR-100, ResNet-32x4 to ResNet-8x4.
    """
    target = wkd_target(student, teacher, labels)
    transport = wkd_transport(
        student, teacher, labels, cost, temperature=temperature, reg=reg, iterations=iterations
    )
    return target + transport_weight * transport


def wkd_target(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    r"""Cross entropy of the label's probability alone: teacher's times log of the student's, per sample.

    .. math:: \ell_i = -p^T_{i y_i} \log p^S_{i y_i}

    Both at temperature 1. A cross entropy, hence not zero where student and teacher agree.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes); no gradient flows into them.
        labels: class indices (n,), or one-hot or soft labels (n, classes).

    Returns:
        One value per sample, in nats, shape (n,).

    Example:
        >>> wkd_target(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([0])).round(decimals=4)
        tensor([0.3466])

    References:
        WKD's target term, the same as that of NKD [lv2024wasserstein].
    """
    require_same("wkd_target", "n c", student=student, teacher=teacher)
    index = class_indices("wkd_target", labels, student)[:, None]
    student, teacher = promoted(student, teacher.detach())
    log_probability = F.log_softmax(student, dim=1).gather(1, index).squeeze(1)
    return -F.softmax(teacher, dim=1).gather(1, index).squeeze(1) * log_probability


def wkd_transport(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    cost: Tensor,
    *,
    temperature: Positive = 8.0,
    reg: Positive = 0.05,
    iterations: PositiveInt = 10,
) -> Tensor:
    r"""Truncated Sinkhorn cost between the distributions over all classes but the label, per sample.

    Exactly the published iteration. Ten iterations are far from convergence, so this is a function of its own
    rather than an approximation; the published weights belong to it. There is no squared temperature.

    Args:
        student: logits, shape (n, classes), at least two classes.
        teacher: logits, shape (n, classes); no gradient flows into them.
        labels: class indices (n,), or one-hot or soft labels (n, classes).
        cost: ground cost, shape (classes, classes), student's class first; negative entries count as zero.
        temperature: divides both logits, > 0.
        reg: strength of the entropy, > 0.
        iterations: Sinkhorn iterations.

    Returns:
        One value per sample, in units of the cost, shape (n,).

    Raises:
        ShapeError: logits, labels and cost do not fit together.

    Example:
        >>> logits = torch.tensor([[9.0, 1.0, 0.0], [9.0, 0.0, 1.0]])
        >>> wkd_transport(logits, logits.flip(0), torch.tensor([0, 0]), 1 - torch.eye(3), temperature=1.0)
        tensor([0.1699, 0.1699])

    References:
        WKD's transport term [lv2024wasserstein].
    """
    index, cost = _checked("wkd_transport", student, teacher, labels, cost, temperature, reg)
    student, teacher = promoted(student, teacher.detach())
    return truncated_transport(
        softmax_without(student, index, temperature=temperature),
        softmax_without(teacher, index, temperature=temperature),
        cost.to(student.dtype),
        reg=reg,
        iterations=iterations,
        excluded=index,
    )


def wkd_transport_all(
    student: Tensor,
    teacher: Tensor,
    cost: Tensor,
    *,
    temperature: Positive = 8.0,
    reg: Positive = 0.05,
    iterations: PositiveInt = 10,
) -> Tensor:
    r"""Truncated Sinkhorn cost between the distributions over all classes, per sample.

    The paper's ablation without a separate target: no label is needed.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes); no gradient flows into them.
        cost: ground cost, shape (classes, classes), student's class first; negative entries count as zero.
        temperature: divides both logits, > 0.
        reg: strength of the entropy, > 0.
        iterations: Sinkhorn iterations.

    Returns:
        One value per sample, in units of the cost, shape (n,).

    Example:
        >>> wkd_transport_all(torch.eye(2), torch.eye(2), torch.zeros(2, 2)).round(decimals=4)
        tensor([0., 0.])

    References:
        WKD-L without separation [lv2024wasserstein].
    """
    require_same("wkd_transport_all", "n c", student=student, teacher=teacher)
    require_above("wkd_transport_all", 0, temperature=temperature, reg=reg)
    require_cost("wkd_transport_all", cost, student.shape[1])
    student, teacher = promoted(student, teacher.detach())
    return truncated_transport(
        F.softmax(student / temperature, dim=1),
        F.softmax(teacher / temperature, dim=1),
        _ground(cost).to(student.dtype),
        reg=reg,
        iterations=iterations,
    )


def wkd_transport_converged(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    cost: Tensor,
    *,
    temperature: Positive = 8.0,
    reg: Positive = 0.05,
    tolerance: Positive = 1e-6,
    max_iterations: PositiveInt = 10_000,
) -> Tensor:
    r"""Entropic transport cost, run to convergence, between the distributions over all classes but the label.

    What the truncated form approaches. Its values and gradients differ from `wkd_transport`, so weights must be
    chosen anew. A second derivative is not available.

    Args:
        student: logits, shape (n, classes), at least two classes.
        teacher: logits, shape (n, classes); no gradient flows into them.
        labels: class indices (n,), or one-hot or soft labels (n, classes).
        cost: ground cost, shape (classes, classes), student's class first; negative entries count as zero.
        temperature: divides both logits, > 0.
        reg: strength of the entropy, > 0; at least a three-hundredth of the largest cost.
        tolerance: largest allowed error of a sample's marginal (sum of absolute differences).
        max_iterations: give up after so many.

    Returns:
        One value per sample, in units of the cost, shape (n,).

    Raises:
        ShapeError: logits, labels and cost do not fit together.
        ConfigError: not converged within `max_iterations`, or `reg` too small for the cost.

    Example:
        >>> logits = torch.tensor([[9.0, 1.0, 0.0], [9.0, 0.0, 1.0]])
        >>> labels = torch.tensor([0, 0])
        >>> wkd_transport_converged(logits, logits.flip(0), labels, 1 - torch.eye(3), temperature=1.0)
        tensor([0.4621, 0.4621])

    References:
        The limit of WKD's transport term [lv2024wasserstein]; the published program stops at 10 iterations.
    """
    index, cost = _checked("wkd_transport_converged", student, teacher, labels, cost, temperature, reg)
    student, teacher = promoted(student, teacher.detach())
    return converged_transport(
        softmax_without(student, index, temperature=temperature),
        softmax_without(teacher, index, temperature=temperature),
        cost,
        reg=reg,
        tolerance=tolerance,
        max_iterations=max_iterations,
    )


def _checked(
    where: str, student: Tensor, teacher: Tensor, labels: Tensor, cost: Tensor, temperature: float, reg: float
) -> tuple[Tensor, Tensor]:
    """Target classes and ground cost, after checking everything that was given."""
    require_same(where, "n c", student=student, teacher=teacher)
    require_above(where, 0, temperature=temperature, reg=reg)
    require_cost(where, cost, student.shape[1])
    if student.shape[1] < 2:
        raise ShapeError(f"{where}: needs at least 2 classes, got {student.shape[1]}.")
    return class_indices(where, labels, student), _ground(cost)


def _ground(cost: Tensor) -> Tensor:
    (cost,) = promoted(cost.detach())
    return torch.relu(cost) + COST_FLOOR
