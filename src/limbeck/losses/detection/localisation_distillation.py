"""LD: the teacher's distributions over the sides of a box tell how sure it is of each [zheng2022localization].

For heads that predict, for each side, a distribution over bins instead of one number. Besides the positives,
anchors near an object (`limbeck.numerics.imitation.valuable_region`) teach where it ends.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.bounds import NonNegative, Positive
from limbeck.errors import ShapeError
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.divergence import softened_kl
from limbeck.numerics.precision import promoted


def ld(
    student_sides: Tensor,
    teacher_sides: Tensor,
    side_positives: Tensor,
    side_region: Tensor,
    *,
    weight: NonNegative = 0.25,
    region_weight: NonNegative = 0.25,
    temperature: Positive = 10.0,
) -> Tensor:
    r"""Divergence of the sides' distributions, mean over positives plus mean over the valuable region.

    .. math:: \ell = \frac{w}{K} \sum_{\text{positives}} d_a + \frac{w'}{K'} \sum_{\text{region}} d_a, \quad
        d_a = \frac14 \sum_{s} \frac{T^2}{B} \, \mathrm{KL}_{as}

    with B bins a side: the published divergence is a mean over bins. The released program sums (`ld_summed`).

    Args:
        student_sides: logits over bins, shape (n, a, 4, bins + 1).
        teacher_sides: likewise; no gradient flows into them.
        side_positives: anchors matched to an object, bool, shape (n, a).
        side_region: anchors of the valuable region, bool, shape (n, a); positives among them do not count twice.
        weight: of the positives; 0.25.
        region_weight: of the region; 0.25, 0 leaves it out.
        temperature: divides both logits, > 0; 10.

    Returns:
        A scalar, in nats times squared temperature; 0 where there is nothing to imitate.

    Raises:
        ShapeError: shapes that do not fit each other.

    Example:
        >>> sides, some = torch.zeros(1, 2, 4, 9), torch.tensor([[True, False]])
        >>> ld(sides, sides, some, ~some)
        tensor(0.)

    References:
        Zheng et al., Localization Distillation for Dense Object Detection, CVPR 2022 [zheng2022localization],
        section 3; weights and temperature of the released settings (GFL with 16 bins).
    """
    parts = _divergences("ld", student_sides, teacher_sides, side_positives, side_region, temperature=temperature)
    means = [_mean(part) for part in parts]
    return weight * means[0] + region_weight * means[1]


def ld_summed(
    student_sides: Tensor,
    teacher_sides: Tensor,
    student_class_logits: Tensor,
    side_positives: Tensor,
    side_region: Tensor,
    *,
    weight: NonNegative = 0.25,
    region_weight: NonNegative = 0.25,
    temperature: Positive = 10.0,
) -> Tensor:
    r"""The divergence of `ld` as the released program adds it up: sums, positives weighed by the student's score.

    .. math:: \ell = w \sum_{\text{positives}} d_a \max_c \sigma(z_{ac}) + \frac{w'}{4} \sum_{\text{region}} d_a

    It grows with the number of objects in the batch.

    Args:
        student_sides: logits over bins, shape (n, a, 4, bins + 1).
        teacher_sides: likewise; no gradient flows into them.
        student_class_logits: shape (n, a, classes); no gradient flows into them either.
        side_positives: anchors matched to an object, bool, shape (n, a).
        side_region: anchors of the valuable region, bool, shape (n, a); positives among them do not count twice.
        weight: of the positives; 0.25.
        region_weight: of the region; 0.25, 0 leaves it out.
        temperature: divides both logits, > 0; 10.

    Returns:
        A scalar, in nats times squared temperature.

    Raises:
        ShapeError: shapes that do not fit each other.

    Example:
        >>> sides, some = torch.zeros(1, 2, 4, 9), torch.tensor([[True, False]])
        >>> ld_summed(sides, sides, torch.zeros(1, 2, 3), some, ~some)
        tensor(0.)

    References:
        The program of Zheng et al. [zheng2022localization], in which an anchor of the region may also weigh by how
        near it is to the object; here each weighs one.
    """
    positives, region = _divergences(
        "ld_summed", student_sides, teacher_sides, side_positives, side_region, temperature=temperature
    )
    if student_class_logits.dim() != 3 or student_class_logits.shape[:2] != side_positives.shape:
        raise ShapeError(
            f"ld_summed: {tuple(side_positives.shape)} anchors, but student_class_logits "
            f"{tuple(student_class_logits.shape)}; expected (n, a, classes)."
        )
    (logits,) = promoted(student_class_logits.detach()[side_positives])
    scores = logits.amax(dim=1).sigmoid()
    return weight * (positives * scores).sum() + region_weight * region.sum() / 4


def ld_classes(
    student_class_logits: Tensor,
    teacher_class_logits: Tensor,
    side_positives: Tensor,
    *,
    weight: NonNegative = 10.0,
    temperature: Positive = 2.0,
) -> Tensor:
    r"""Divergence of the softened class scores on positives, which LD adds for the classes.

    .. math:: \ell = \frac{w T^2}{K C} \sum_{\text{positives}} \mathrm{KL}_a

    with C classes and a softmax over them, although the detector has a sigmoid for each.

    Args:
        student_class_logits: shape (n, a, classes).
        teacher_class_logits: likewise; no gradient flows into them.
        side_positives: anchors matched to an object, bool, shape (n, a).
        weight: of the term; 10.
        temperature: divides both logits, > 0; 2.

    Returns:
        A scalar, in nats times squared temperature; 0 without positives.

    Raises:
        ShapeError: shapes that do not fit each other.

    Example:
        >>> logits = torch.zeros(1, 2, 3)
        >>> ld_classes(logits, logits, torch.tensor([[True, False]]))
        tensor(0.)

    References:
        Zheng et al., Localization Distillation for Dense Object Detection, CVPR 2022 [zheng2022localization], and
        the released settings for GFL; the program takes the mean over positives level by level.
    """
    require_same("ld_classes", "n a c", student=student_class_logits, teacher=teacher_class_logits)
    require_above("ld_classes", 0, temperature=temperature)
    _require_mask("ld_classes", student_class_logits, side_positives)
    values = softened_kl(
        student_class_logits[side_positives], teacher_class_logits[side_positives], temperature=temperature
    )
    return weight * temperature**2 * _mean(values) / max(student_class_logits.shape[2], 1)


def _divergences(
    where: str, student: Tensor, teacher: Tensor, positives: Tensor, region: Tensor, *, temperature: float
) -> list[Tensor]:
    """Mean over sides and bins, times the squared temperature: of positives, and of others in the region."""
    require_same(where, "n a side bin", student_sides=student, teacher_sides=teacher)
    require_above(where, 0, temperature=temperature)
    for mask in (positives, region):
        _require_mask(where, student, mask)
    parts = []
    for mask in (positives, region & ~positives):  # few of all anchors: the rest is not computed
        values = softened_kl(student[mask], teacher[mask], temperature=temperature)
        parts.append(temperature**2 * values.mean(dim=1) / student.shape[3])
    return parts


def _require_mask(where: str, like: Tensor, mask: Tensor) -> None:
    if mask.shape != like.shape[:2] or mask.dtype != torch.bool:
        raise ShapeError(
            f"{where}: {tuple(like.shape[:2])} anchors, but a mask of shape {tuple(mask.shape)} and type "
            f"{mask.dtype}; expected bool."
        )


def _mean(values: Tensor) -> Tensor:
    """Zero of none, and still part of the graph."""
    return values.sum() / max(len(values), 1)
