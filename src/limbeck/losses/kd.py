"""Knowledge distillation by softened class probabilities [hinton2015distilling]."""

from __future__ import annotations

from torch import Tensor

from limbeck.bounds import Positive
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.divergence import softened_kl


def kd(student: Tensor, teacher: Tensor, *, temperature: Positive = 4.0) -> Tensor:
    r"""Kullback-Leibler divergence from softened teacher to softened student, times the squared temperature.

    The first thing to try: it needs nothing but the two logits. The squared temperature keeps the size of the
    gradient comparable between temperatures.

    .. math:: \ell_i = \tau^2 \sum_k p_{ik} \log (p_{ik} / q_{ik})

    with p and q the softmax of teacher and student logits divided by tau.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes); no gradient flows into them.
        temperature: divides both logits, > 0 (tau).

    Returns:
        One value per sample, in nats times the squared temperature, shape (n,).

    Raises:
        ShapeError: the two logits differ in shape.

    Example:
        >>> import torch
        >>> kd(torch.zeros(2, 3), torch.zeros(2, 3))
        tensor([0., 0.])

    References:
        Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2015 [hinton2015distilling].
        The cross entropy with the labels is a term of its own; common weights are 0.9 for this term and
        0.1 for that one.
    """
    require_same("kd", "n c", student=student, teacher=teacher)
    require_above("kd", 0, temperature=temperature)
    return temperature**2 * softened_kl(student, teacher, temperature=temperature)
