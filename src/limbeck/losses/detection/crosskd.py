"""CrossKD: the teacher's head reads the student's features, and its answers are compared [wang2024crosskd].

A student that imitates the teacher's answers directly is torn between them and the labels. Here the student's
features behind a convolution of the head, brought to the teacher's statistics
(`limbeck.numerics.channel_moments.restandardised`), are read by the rest of the teacher's frozen head; its answers
are called crossed. They imitate the teacher's own, and the student's own answers are left to the labels.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from limbeck.bounds import NonNegative, Positive
from limbeck.errors import ShapeError
from limbeck.numerics.boxes import giou
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.divergence import softened_kl
from limbeck.numerics.precision import promoted


def crosskd_classes(
    crossed_logits: Tensor,
    teacher_class_logits: Tensor,
    anchor_matches: Tensor,
    *,
    weight: NonNegative = 1.0,
    beta: NonNegative = 1.0,
) -> Tensor:
    r"""Quality focal loss of the crossed class scores, over the number of positives.

    .. math:: \ell = \frac1N \sum_{a,c} |\sigma(z_{ac}) - p_{ac}|^\beta \; \mathrm{BCE}(\sigma(z_{ac}), p_{ac}),
        \quad p = \sigma(z^T)

    over all anchors that the detector does not ignore; N counts the positives of each image, at least one.

    Args:
        crossed_logits: of the teacher's head on the student's features, shape (n, a, classes).
        teacher_class_logits: shape (n, a, classes); no gradient flows into them.
        anchor_matches: the object that each anchor is matched to, shape (n, a), int64; -1 for background, below
            that ignored.
        weight: of the term; 1 in the released settings.
        beta: power of the difference; 1 in the released settings.

    Returns:
        A scalar, in nats.

    Raises:
        ShapeError: shapes that do not fit each other.

    Example:
        >>> import torch
        >>> logits = torch.zeros(1, 2, 3)
        >>> crosskd_classes(logits, logits, torch.tensor([[0, -1]]))
        tensor(0.)

    References:
        Wang et al., CrossKD: Cross-Head Knowledge Distillation for Object Detection, CVPR 2024 [wang2024crosskd],
        section 3.3, and the released settings for RetinaNet; the features behind the third of four convolutions.
    """
    require_same("crosskd_classes", "n a c", crossed=crossed_logits, teacher=teacher_class_logits)
    counted, positives = _counted("crosskd_classes", anchor_matches, crossed_logits)
    student, teacher = promoted(crossed_logits, teacher_class_logits.detach())
    target = teacher.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(student, target, reduction="none")
    values = (student.sigmoid() - target).abs().pow(beta) * entropy
    return weight * (values.sum(dim=2) * counted).sum() / positives


def crosskd_boxes(
    crossed_boxes: Tensor,
    teacher_boxes: Tensor,
    teacher_class_logits: Tensor,
    anchor_matches: Tensor,
    *,
    weight: NonNegative = 1.0,
) -> Tensor:
    r"""One minus the generalised overlap of crossed and teacher's boxes, where the teacher sees something.

    .. math:: \ell = \frac1N \sum_a \max_c \sigma(z^T_{ac}) \; (1 - \mathrm{GIoU}(b_a, b^T_a))

    over all anchors that the detector does not ignore; N counts the positives of each image, at least one.

    Args:
        crossed_boxes: decoded, of the teacher's head on the student's features, shape (n, a, 4), in pixels.
        teacher_boxes: decoded, shape (n, a, 4), in pixels; no gradient flows into them.
        teacher_class_logits: shape (n, a, classes).
        anchor_matches: the object that each anchor is matched to, shape (n, a), int64; -1 for background, below
            that ignored.
        weight: of the term; 1 in the released settings.

    Returns:
        A scalar without unit.

    Raises:
        ShapeError: shapes that do not fit each other.

    Example:
        >>> import torch
        >>> boxes = torch.tensor([[[0.0, 0.0, 4.0, 4.0]]])
        >>> crosskd_boxes(boxes + 1, boxes, torch.zeros(1, 1, 3), torch.tensor([[0]])).round(decimals=4)
        tensor(0.3443)

    References:
        Wang et al., CrossKD: Cross-Head Knowledge Distillation for Object Detection, CVPR 2024 [wang2024crosskd],
        section 3.3, and the released settings for RetinaNet.
    """
    require_same("crosskd_boxes", "n a four", crossed=crossed_boxes, teacher=teacher_boxes)
    counted, positives = _counted("crosskd_boxes", anchor_matches, crossed_boxes)
    gaps = 1 - giou(crossed_boxes, teacher_boxes.detach())
    return weight * (gaps * _certainty("crosskd_boxes", teacher_class_logits, counted)).sum() / positives


def crosskd_sides(
    crossed_sides: Tensor,
    teacher_sides: Tensor,
    teacher_class_logits: Tensor,
    anchor_matches: Tensor,
    *,
    weight: NonNegative = 4.0,
    temperature: Positive = 1.0,
) -> Tensor:
    r"""Divergence of the distributions over each side of a box, for heads that predict such.

    .. math:: \ell = \frac{\sum_a w_a \frac14 \sum_{s} T^2 \, \mathrm{KL}_{as}}{\sum_a w_a},
        \quad w_a = \max_c \sigma(z^T_{ac})

    over all anchors that the detector does not ignore.

    Args:
        crossed_sides: of the teacher's head on the student's features, shape (n, a, 4, bins + 1).
        teacher_sides: shape (n, a, 4, bins + 1); no gradient flows into them.
        teacher_class_logits: shape (n, a, classes).
        anchor_matches: the object that each anchor is matched to, shape (n, a), int64; -1 for background, below
            that ignored.
        weight: of the term; 4 in the paper's setting for GFL.
        temperature: divides both logits, > 0; 1 in the released settings.

    Returns:
        A scalar, in nats times squared temperature.

    Raises:
        ShapeError: shapes that do not fit each other.

    Example:
        >>> import torch
        >>> sides = torch.zeros(1, 2, 4, 9)
        >>> crosskd_sides(sides, sides, torch.zeros(1, 2, 3), torch.tensor([[0, -1]]))
        tensor(0.)

    References:
        Wang et al., CrossKD: Cross-Head Knowledge Distillation for Object Detection, CVPR 2024 [wang2024crosskd],
        section 3.3. Later versions of the released settings use weight 3 and `crosskd_boxes` beside it.
    """
    require_same("crosskd_sides", "n a side bin", crossed=crossed_sides, teacher=teacher_sides)
    require_above("crosskd_sides", 0, temperature=temperature)
    counted, _ = _counted("crosskd_sides", anchor_matches, crossed_sides)
    values = temperature**2 * softened_kl(crossed_sides, teacher_sides, temperature=temperature).mean(dim=2)
    certainty = _certainty("crosskd_sides", teacher_class_logits, counted)
    return weight * (values * certainty).sum() / (certainty.sum() + 1e-6)


def _counted(where: str, anchor_matches: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Which anchors count, and the number of positives, at least one an image."""
    if anchor_matches.shape != like.shape[:2]:
        raise ShapeError(
            f"{where}: {tuple(like.shape[:2])} anchors, but anchor_matches {tuple(anchor_matches.shape)}."
        )
    return anchor_matches >= -1, (anchor_matches >= 0).sum(dim=1).clamp(min=1).sum().clamp(min=1)


def _certainty(where: str, teacher_class_logits: Tensor, counted: Tensor) -> Tensor:
    """The teacher's largest class probability, 0 for ignored anchors, shape (n, a)."""
    if teacher_class_logits.dim() != 3 or teacher_class_logits.shape[:2] != counted.shape:
        raise ShapeError(
            f"{where}: {tuple(counted.shape)} anchors, but teacher_class_logits "
            f"{tuple(teacher_class_logits.shape)}; expected (n, a, classes)."
        )
    (logits,) = promoted(teacher_class_logits.detach())
    return logits.amax(dim=2).sigmoid() * counted
