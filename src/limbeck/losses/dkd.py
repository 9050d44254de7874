"""DKD: what the teacher says of the label, and of all other classes, weighted apart [zhao2022decoupled]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.bounds import NonNegative, Positive
from limbeck.numerics.checks import class_indices, require_above, require_same
from limbeck.numerics.precision import promoted


def dkd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    *,
    alpha: NonNegative = 1.0,
    beta: NonNegative = 8.0,
    temperature: Positive = 4.0,
) -> Tensor:
    r"""Two divergences: between label and the rest, and within the rest; times the squared temperature.

    In the divergence of `kd` the second part is weighted by one minus the teacher's confidence, which silences it
    where the teacher is sure. Here its weight is free.

    .. math:: \ell_i = \tau^2 \, [\alpha \, KL(b^t_i \| b^s_i) + \beta \, KL(\hat p^t_i \| \hat p^s_i)]

    with b = (p(y), 1 - p(y)) and p-hat the softmax over all classes but y, both at temperature tau.

    Args:
        student: logits, shape (n, classes), two classes or more.
        teacher: logits, shape (n, classes); no gradient flows into them.
        labels: class of each sample, shape (n,), or weights (n, classes), of which the largest counts.
        alpha: weight of the part about the label.
        beta: weight of the part about the other classes; 8 is the authors' value for most CIFAR pairs, 6 and 2 for
            others, 0.5 for ResNet-34 to ResNet-18 on ImageNet.
        temperature: divides both logits, > 0 (tau); 4 on CIFAR, 1 on ImageNet.

    Returns:
        One value per sample, in nats times the squared temperature, shape (n,).

    Raises:
        ShapeError: the logits differ in shape, or the labels do not belong to them.
        DataError: a label that is no class.

    Example:
        >>> dkd(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0, 2]))
        tensor([0., 0.])

    References:
        Zhao et al., Decoupled Knowledge Distillation, CVPR 2022 [zhao2022decoupled], equation 7. Beside the cross
        entropy with weight 1; the authors let the weight of this term grow over the first 20 of 240 epochs. Their
        program subtracts 1000 from the label's logit and takes the logarithm of a probability that may underflow;
        here it is left out in the logarithms, which stays finite.
    """
    require_same("dkd", "n c", student=student, teacher=teacher)
    require_above("dkd", 0, temperature=temperature)
    own = F.one_hot(class_indices("dkd", labels, student), student.shape[1]).bool()
    z_student, z_teacher = (z / temperature for z in promoted(student, teacher.detach()))
    about_label = _kl(_label_or_not(z_student, own), _label_or_not(z_teacher, own))
    about_others = _kl(_others(z_student, own), _others(z_teacher, own))
    return temperature**2 * (alpha * about_label + beta * about_others)


def _label_or_not(logits: Tensor, own: Tensor) -> Tensor:
    """Log probabilities of the label and of all others together, shape (n, 2)."""
    label = logits.masked_fill(~own, 0).sum(dim=1)
    others = logits.masked_fill(own, -torch.inf).logsumexp(dim=1)
    return torch.stack((label, others), dim=1).log_softmax(dim=1)


def _others(logits: Tensor, own: Tensor) -> Tensor:
    """Log probabilities among the other classes, shape (n, classes - 1)."""
    return logits[~own].view(len(logits), logits.shape[1] - 1).log_softmax(dim=1)


def _kl(student: Tensor, teacher: Tensor) -> Tensor:
    return (teacher.exp() * (teacher - student)).sum(dim=1)
