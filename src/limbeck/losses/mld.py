"""MLD: logits matched by sample, by batch and by class, at several temperatures [jin2023multi]."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from limbeck.bounds import Positive
from limbeck.errors import ConfigError
from limbeck.losses._registry import relational
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.divergence import softened_kl
from limbeck.numerics.precision import no_autocast, promoted


def mld_instance(
    student: Tensor, teacher: Tensor, *, temperatures: tuple[float, ...] = (2.0, 3.0, 4.0, 5.0, 6.0)
) -> Tensor:
    r"""The divergence of `kd`, summed over several temperatures.

    .. math:: \ell_i = \sum_\tau \tau^2 \, KL(P_{t,i} \| P_{s,i})

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes); no gradient flows into them.
        temperatures: each divides both logits, > 0; those of the released program.

    Returns:
        One value per sample, in nats times squared temperatures, shape (n,).

    Raises:
        ShapeError: the two logits differ in shape.
        ConfigError: no temperature, or one that is not above 0.

    Example:
        >>> import torch
        >>> mld_instance(torch.zeros(2, 3), torch.zeros(2, 3))
        tensor([0., 0.])

    References:
        Jin, Wang, Lin, Multi-Level Logit Distillation, CVPR 2023 [jin2023multi], instance-level alignment.
    """
    require_same("mld_instance", "n c", student=student, teacher=teacher)
    _require_temperatures("mld_instance", temperatures)
    parts = [t**2 * softened_kl(student, teacher, temperature=t) for t in temperatures]
    return torch.stack(parts).sum(dim=0)


@relational
def mld_batch(student: Tensor, teacher: Tensor, *, temperature: Positive = 4.0) -> Tensor:
    r"""Squared difference of the sample-by-sample products of probabilities, over the number of samples.

    .. math:: \ell = \frac{1}{n} |P_t P_t^T - P_s P_s^T|_F^2

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes); no gradient flows into them.
        temperature: divides both logits, > 0. There is no factor of its square.

    Returns:
        A scalar, dimensionless.

    Raises:
        ShapeError: the two logits differ in shape.

    Example:
        >>> import torch
        >>> mld_batch(torch.zeros(2, 3), torch.zeros(2, 3))
        tensor(0.)

    References:
        Jin, Wang, Lin, Multi-Level Logit Distillation, CVPR 2023 [jin2023multi], batch-level alignment.
    """
    p, q = _probabilities("mld_batch", student, teacher, temperature)
    with no_autocast(p):
        return (q @ q.T - p @ p.T).square().sum() / len(p)


@relational
def mld_class(student: Tensor, teacher: Tensor, *, temperature: Positive = 4.0) -> Tensor:
    r"""Squared difference of the class-by-class products of probabilities, over the number of classes.

    .. math:: \ell = \frac{1}{C} |P_t^T P_t - P_s^T P_s|_F^2

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes); no gradient flows into them.
        temperature: divides both logits, > 0. There is no factor of its square.

    Returns:
        A scalar, dimensionless.

    Raises:
        ShapeError: the two logits differ in shape.

    Example:
        >>> import torch
        >>> mld_class(torch.zeros(2, 3), torch.zeros(2, 3))
        tensor(0.)

    References:
        Jin, Wang, Lin, Multi-Level Logit Distillation, CVPR 2023 [jin2023multi], class-level alignment.
    """
    p, q = _probabilities("mld_class", student, teacher, temperature)
    samples, classes = p.shape
    with no_autocast(p):
        if classes <= samples:
            return (q.T @ q - p.T @ p).square().sum() / classes
        # With d = q - p and s = q + p the difference is (d^T s + s^T d) / 2, whose square needs products of
        # samples by samples alone: fewer, for a thousand classes, by far.
        gap, total = q - p, q + p
        mixed = gap @ total.T
        squares = (gap @ gap.T) * (total @ total.T) + mixed * mixed.T
        return squares.sum() / (2 * classes)


@relational
def mld(
    student: Tensor,
    teacher: Tensor,
    *,
    temperatures: tuple[float, ...] = (2.0, 3.0, 4.0, 5.0, 6.0),
    source: Literal["paper", "code"] = "paper",
) -> Tensor:
    """All three alignments, summed over temperatures.

    Args:
        student: logits of one view, shape (n, classes).
        teacher: logits of the same view, shape (n, classes); no gradient flows into them.
        temperatures: each divides both logits, > 0; those of the released program.
        source: paper sums the three parts as they are. In the code each part is multiplied by the share of samples
            (of classes, for that part) whose confidence is at most the median, which was meant as a mask and acts
            as a factor of about a half. The code's further slips (the strong view's instance part uses weak logits
            at two temperatures, and its relations are computed and dropped) are not offered.

    Returns:
        A scalar: nats times squared temperatures, and dimensionless relations.

    Raises:
        ShapeError: the two logits differ in shape.
        ConfigError: no temperature, or one that is not above 0.

    Example:
        >>> import torch
        >>> mld(torch.zeros(2, 3), torch.zeros(2, 3))
        tensor(0.)

    References:
        Jin, Wang, Lin, Multi-Level Logit Distillation, CVPR 2023 [jin2023multi]. Weight 0.9 beside 0.1 of the
        cross entropy, on a weakly and on a strongly augmented view each.
    """
    require_same("mld", "n c", student=student, teacher=teacher)
    _require_temperatures("mld", temperatures)
    instance = mld_instance(student, teacher, temperatures=temperatures).mean()
    of_samples = torch.stack([mld_batch(student, teacher, temperature=t) for t in temperatures]).sum()
    of_classes = torch.stack([mld_class(student, teacher, temperature=t) for t in temperatures]).sum()
    parts = torch.stack((instance + of_samples, of_classes))
    return parts.sum() if source == "paper" else (_shares(teacher) * parts).sum()


def _shares(teacher: Tensor) -> Tensor:
    """Share of samples, and of classes, of at most median confidence: what the released masks amount to."""
    (logits,) = promoted(teacher.detach())
    probabilities = logits.softmax(dim=1)
    confidences = (probabilities.amax(dim=1), probabilities.sum(dim=0))
    return torch.stack([(c <= c.quantile(0.5)).to(logits.dtype).mean() for c in confidences])


def _require_temperatures(where: str, temperatures: tuple[float, ...]) -> None:
    if not temperatures:
        raise ConfigError(f"{where}: temperatures is empty; the authors take 2, 3, 4, 5 and 6.")
    for temperature in temperatures:
        require_above(where, 0, temperatures=temperature)


def _probabilities(where: str, student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    require_same(where, "n c", student=student, teacher=teacher)
    require_above(where, 0, temperature=temperature)
    p, q = ((z / temperature).softmax(dim=1) for z in promoted(student, teacher.detach()))
    return p, q
