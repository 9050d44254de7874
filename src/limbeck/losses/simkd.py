"""SimKD: match the map in front of the teacher's classifier, which the student reuses [chen2022knowledge]."""

from __future__ import annotations

from torch import Tensor

from limbeck.losses.hint import hint
from limbeck.numerics.map_sizes import to_smaller
from limbeck.numerics.precision import promoted


def simkd(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    r"""Mean squared difference of two feature maps, the larger one averaged to the size of the smaller.

    For a student that ends in a transfer block and the teacher's classifier (`limbeck.models.reuse_head`): the
    more alike the maps, the more alike the logits, and no label is needed. For maps of equal size it is `hint`.

    .. math:: \ell_i = \frac{1}{chw} \sum_{k} (s_{ik} - t_{ik})^2

    Args:
        student_map: what the transfer block puts out, shape (n, c, h, w).
        teacher_map: the map whose average the teacher's classifier reads, shape (n, c, H, W); no gradient flows
            into it.

    Returns:
        One value per sample, in squared units of the activations, shape (n,).

    Raises:
        ShapeError: the maps differ in channels.

    Example:
        >>> import torch
        >>> simkd(torch.zeros(2, 3, 2, 2), torch.full((2, 3, 4, 4), 2.0))
        tensor([4., 4.])

    References:
        Chen et al., Knowledge Distillation with the Reused Teacher Classifier, CVPR 2022 [chen2022knowledge],
        equation 2, weight 1 and nothing beside it.
    """
    student, teacher = promoted(student_map, teacher_map.detach())
    if student.dim() == 4 and teacher.dim() == 4:
        student, teacher = to_smaller(student, teacher)
    return hint(student, teacher)
