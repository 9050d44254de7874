"""DKD: what the teacher says of the label, and of all other classes, weighted apart [zhao2022decoupled]."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.bounds import NonNegative, Positive
from limbeck.errors import ShapeError
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
        ShapeError: the logits differ in shape or have one class, or the labels do not belong to them.
        DataError: a label that is no class.

    Example:
        >>> import torch
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
    if student.shape[1] < 2:
        raise ShapeError(f"dkd: needs two classes or more, got logits {tuple(student.shape)}.")
    label = class_indices("dkd", labels, student)[:, None]
    z_student, z_teacher = (z / temperature for z in promoted(student, teacher.detach()))
    label_student, others_student = _decoupled(z_student, label)
    label_teacher, others_teacher = _decoupled(z_teacher, label)
    about_label, about_others = _kl(label_student, label_teacher), _kl(others_student, others_teacher)
    return temperature**2 * (alpha * about_label + beta * about_others)


def _decoupled(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Log probabilities of label and not label, shape (n, 2), and of each other class among the others.

    The latter keep the shape (n, classes), with minus infinity at the label: picking the others out would make the
    host wait for an accelerator.
    """
    others = logits.scatter(1, label, -torch.inf)
    own = logits.gather(1, label)
    rest = others.logsumexp(dim=1, keepdim=True)
    return torch.cat((own, rest), dim=1).log_softmax(dim=1), others - rest


def _kl(student: Tensor, teacher: Tensor) -> Tensor:
    shares = teacher.exp()
    return (shares * (teacher - student).masked_fill(shares == 0, 0)).sum(dim=1)
