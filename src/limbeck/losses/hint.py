"""The hint of FitNets: a student's feature map imitates a teacher's [romero2015fitnets]."""

from __future__ import annotations

from torch import Tensor

from limbeck.numerics.checks import require_same
from limbeck.numerics.precision import promoted


def hint(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    r"""Mean squared difference of two feature maps, per sample.

    The simplest way to distil a layer in the middle. The student's map first passes a projector
    (`ConvProjector`), which is trained along and thrown away.

    .. math:: \ell_i = \frac{1}{chw} \sum_{k} (s_{ik} - t_{ik})^2

    Args:
        student_map: projected feature map, shape (n, c, h, w).
        teacher_map: feature map, shape (n, c, h, w); no gradient flows into it.

    Returns:
        One value per sample, in squared units of the activations, shape (n,).

    Raises:
        ShapeError: the maps differ in shape.

    Example:
        >>> import torch
        >>> hint(torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 2.0))
        tensor([4., 4.])

    References:
        Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015 [romero2015fitnets]. The paper trains the
        hint first and the classifier afterwards; as in common benchmarks, this term (weight 100 there) stands
        beside the cross entropy from the start.
    """
    require_same("hint", "n c h w", student_map=student_map, teacher_map=teacher_map)
    student, teacher = promoted(student_map, teacher_map.detach())
    return (student - teacher).square().flatten(1).mean(dim=1)
