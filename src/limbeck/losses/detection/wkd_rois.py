"""WKD-L on the proposals of a two-stage detector [lv2024wasserstein]."""

from __future__ import annotations

from torch import Tensor

from limbeck.bounds import NonNegative, Positive, PositiveInt
from limbeck.losses.wkd_logit import wkd_logit


def wkd_rois(
    student_logits: Tensor,
    teacher_logits: Tensor,
    proposal_labels: Tensor,
    cost: Tensor,
    *,
    transport_weight: NonNegative = 30.0,
    temperature: Positive = 2.0,
    reg: Positive = 0.05,
    iterations: PositiveInt = 10,
) -> Tensor:
    """`limbeck.losses.wkd_logit` between the box heads of two detectors, mean over the student's proposals.

    Both heads read the same proposals; the class of a proposal, background among them, is the target that is
    treated apart. The cost between classes includes the background, e.g. from the rows of the teacher's box
    predictor.

    Args:
        student_logits: shape (r, classes + 1).
        teacher_logits: on the same proposals, shape (r, classes + 1); no gradient flows into them.
        proposal_labels: column of each proposal's class, shape (r,), 0 for background.
        cost: between classes, shape (classes + 1, classes + 1).
        transport_weight: of the transported part; 30 on ImageNet (ResNet34 to ResNet18).
        temperature: divides the logits of the transported part, > 0; 2 there.
        reg: strength of the entropy, > 0.
        iterations: of Sinkhorn; 10 in all published settings.

    Returns:
        A scalar; 0 without proposals.

    Raises:
        ShapeError: logits, labels and cost that do not fit each other.

    Example:
        >>> import torch
        >>> wkd_rois(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0, 2]), 1 - torch.eye(3)).shape
        torch.Size([])

    References:
        Lv, Yang, Li, Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge Distillation, NeurIPS
        2024 [lv2024wasserstein], which reports Faster R-CNN. No program or setting for detectors was released;
        this is our construction, with the weights of its setting for ImageNet.
    """
    values = wkd_logit(
        student_logits,
        teacher_logits,
        proposal_labels,
        cost,
        transport_weight=transport_weight,
        temperature=temperature,
        reg=reg,
        iterations=iterations,
    )
    return values.sum() / max(len(values), 1)
