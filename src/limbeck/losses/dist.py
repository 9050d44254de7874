"""DIST: correlations of probabilities, within each sample and within each class [huang2022knowledge]."""

from __future__ import annotations

from torch import Tensor

from limbeck.bounds import NonNegative, Positive
from limbeck.losses._registry import relational
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.precision import promoted

EPS = 1e-8
"""Added to the product of lengths, as in the released program."""


@relational
def dist(
    student: Tensor,
    teacher: Tensor,
    *,
    inter_weight: NonNegative = 1.0,
    intra_weight: NonNegative = 1.0,
    temperature: Positive = 4.0,
) -> Tensor:
    r"""One minus Pearson's correlation of probabilities, within each sample and within each class.

    For teachers much stronger than the student: the student has to rank classes and samples as the teacher does,
    not to reach its probabilities.

    .. math::
        \ell = \tau^2 \Big[ w_1 \Big(1 - \frac{1}{n} \sum_i \rho(P^s_{i:}, P^t_{i:})\Big)
        + w_2 \Big(1 - \frac{1}{C} \sum_c \rho(P^s_{:c}, P^t_{:c})\Big) \Big]

    with P the softmax at temperature tau.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes); no gradient flows into them.
        inter_weight: of the correlations over classes (beta in the paper).
        intra_weight: of the correlations over samples (gamma in the paper); a batch of one has none, and the part
            is then the constant 1.
        temperature: divides both logits, > 0 (tau); 4 is the authors' value on CIFAR, 1 on ImageNet.

    Returns:
        A scalar, dimensionless times the squared temperature.

    Raises:
        ShapeError: the two logits differ in shape.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[1.0, 2.0, 4.0], [3.0, 0.0, 1.0]])
        >>> bool(dist(logits, logits).abs() < 1e-4)
        True

    References:
        Huang et al., Knowledge Distillation from A Stronger Teacher, NeurIPS 2022 [huang2022knowledge], equations
        8 to 10. With weight 2 beside the cross entropy.
    """
    require_same("dist", "n c", student=student, teacher=teacher)
    require_above("dist", 0, temperature=temperature)
    p, q = ((z / temperature).softmax(dim=1) for z in promoted(student, teacher.detach()))
    inter, intra = 1 - _correlations(p, q).mean(), 1 - _correlations(p.T, q.T).mean()
    return temperature**2 * (inter_weight * inter + intra_weight * intra)


def _correlations(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of each row of a with that of b."""
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    # Lengths as roots of sums with zero gradient at zero: a constant row must not make the gradient infinite.
    correlations: Tensor = (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1) + EPS)
    return correlations
