"""NKD: the teacher's confidence in the label, and its view of the others, as cross entropies [yang2023from]."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.bounds import NonNegative, Positive
from limbeck.errors import ShapeError
from limbeck.numerics.checks import class_indices, require_above, require_same
from limbeck.numerics.divergence import softmax_without
from limbeck.numerics.precision import promoted


def nkd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    *,
    gamma: NonNegative = 1.5,
    temperature: Positive = 1.0,
) -> Tensor:
    r"""Cross entropy of the label with the teacher's confidence as its weight, and of the other classes.

    The probabilities of the other classes are normalised to sum to one on both sides, so that they can be matched.

    .. math::
        \ell_i = - p^t_{iy} \log p^s_{iy} - \gamma \tau^2 \sum_{k \ne y} \hat p^t_{ik} \log \hat p^s_{ik}

    with p at temperature 1 and p-hat the softmax over all classes but y at temperature tau. Both parts are cross
    entropies: they are not zero where student and teacher agree.

    Args:
        student: logits, shape (n, classes), two classes or more.
        teacher: logits, shape (n, classes); no gradient flows into them.
        labels: class of each sample, shape (n,), or weights (n, classes), of which the largest counts.
        gamma: weight of the other classes; 1.5 on ImageNet, 3.5 with temperature 3 on CIFAR.
        temperature: divides the logits of the other classes, > 0 (tau).

    Returns:
        One value per sample, in nats, shape (n,).

    Raises:
        ShapeError: the logits differ in shape or have one class, or the labels do not belong to them.
        DataError: a label that is no class.

    Example:
        >>> import torch
        >>> nkd(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([0]), gamma=0.0)
        tensor([0.3466])

    References:
        Yang et al., From Knowledge Distillation to Self-Knowledge Distillation: A Unified Approach with Normalized
        Loss and Customized Soft Labels, ICCV 2023 [yang2023from]. Beside the cross entropy with weight 1.
    """
    require_same("nkd", "n c", student=student, teacher=teacher)
    require_above("nkd", 0, temperature=temperature)
    if student.shape[1] < 2:
        raise ShapeError(f"nkd: needs two classes or more, got logits {tuple(student.shape)}.")
    label = class_indices("nkd", labels, student)[:, None]
    z_student, z_teacher = promoted(student, teacher.detach())
    confidence = z_teacher.softmax(dim=1).gather(1, label)
    of_label = -(confidence * z_student.log_softmax(dim=1).gather(1, label)).squeeze(1)
    shares = softmax_without(z_teacher, label.squeeze(1), temperature=temperature)
    # The label's own entry is put in again after the logarithm, as 0 instead of minus infinity; its share is 0.
    log_shares = (z_student / temperature).scatter(1, label, -torch.inf).log_softmax(dim=1).scatter(1, label, 0.0)
    of_others = -(shares * log_shares).sum(dim=1)
    return of_label + gamma * temperature**2 * of_others
