"""A classifier's soft labels for the positives of a detector: KD_cls [guo2021distilling]."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from limbeck.bounds import Positive
from limbeck.errors import ShapeError
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.precision import promoted


def kd_cls(positive_logits: Tensor, object_logits: Tensor, *, temperature: Positive = 2.0) -> Tensor:
    """KD_cls in the form that fits the detector's head.

    A head that has one output more than the teacher has a background class and a softmax (SSD, Faster R-CNN):
    `kd_cls_softmax`. One with as many has a sigmoid for each class (RetinaNet, FCOS): `kd_cls_sigmoid`.

    Args:
        positive_logits: of the positives, shape (k, 1 + classes) with the background first, or (k, classes).
        object_logits: of the crop of the object that each positive was matched to, shape (k, classes).
        temperature: divides both logits, > 0; 2 in all experiments of the paper and in the released code.

    Returns:
        One value per positive, shape (k,). The published weight of their mean is 0.4.

    Raises:
        ShapeError: neither as many outputs as the teacher nor one more.

    Example:
        >>> import torch
        >>> kd_cls(torch.zeros(2, 3), torch.zeros(2, 3))
        tensor([0., 0.])

    References:
        Guo, Alvarez, Salzmann, Distilling Image Classifiers in Object Detectors, 2021, section 3.2
        [guo2021distilling].
    """
    outputs, classes = positive_logits.shape[-1], object_logits.shape[-1]
    if outputs == classes + 1:
        return kd_cls_softmax(positive_logits, object_logits, temperature=temperature)
    if outputs == classes:
        return kd_cls_sigmoid(positive_logits, object_logits, temperature=temperature)
    raise ShapeError(
        f"kd_cls: a classifier of {classes} classes fits a detector with {classes + 1} outputs (softmax, with "
        f"background) or {classes} (sigmoid); this one has {outputs}. Were both trained on the same classes?"
    )


def kd_cls_softmax(
    positive_logits: Tensor,
    object_logits: Tensor,
    *,
    temperature: Positive = 2.0,
    background: Literal["first", "last"] = "first",
) -> Tensor:
    r"""KD_cls for heads with a background class and a softmax.

    .. math:: \ell_k = T^2 \sum_c p_{kc} (\log p_{kc} - \log q_{kc})

    with q the softmax over all 1 + C outputs and p the teacher's softmax over C classes, whose background has
    probability zero: the term also pushes the background down on every positive.

    Args:
        positive_logits: of the positives, shape (k, 1 + classes).
        object_logits: shape (k, classes); no gradient flows into them.
        temperature: divides both logits, > 0 (T).
        background: which column; torchvision has it first, the released code last.

    Returns:
        One value per positive, shape (k,).

    Raises:
        ShapeError: the student does not have one column more than the teacher.

    Example:
        >>> import torch
        >>> kd_cls_softmax(torch.zeros(1, 3), torch.zeros(1, 2), temperature=1.0)  # log 3 - log 2
        tensor([0.4055])
    """
    require_above("kd_cls_softmax", 0, temperature=temperature)
    if positive_logits.ndim != 2 or positive_logits.shape != (len(object_logits), object_logits.shape[-1] + 1):
        raise ShapeError(
            "kd_cls_softmax: the student has one column more than the teacher, for the background; got "
            f"{tuple(positive_logits.shape)} and {tuple(object_logits.shape)}."
        )
    student, teacher = promoted(positive_logits, object_logits.detach())
    log_q = F.log_softmax(student / temperature, dim=1)
    log_q = log_q[:, 1:] if background == "first" else log_q[:, :-1]
    log_p = F.log_softmax(teacher / temperature, dim=1)
    return temperature**2 * F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)


def kd_cls_sigmoid(positive_logits: Tensor, object_logits: Tensor, *, temperature: Positive = 2.0) -> Tensor:
    r"""KD_cls for heads with a sigmoid for each class.

    Each class is a distribution over two outcomes:

    .. math:: \ell_k = \frac{T^2}{C} \sum_c p_{kc} \log\frac{p_{kc}}{q_{kc}}
        + (1 - p_{kc}) \log\frac{1 - p_{kc}}{1 - q_{kc}}

    with p and q the sigmoids of teacher and student logits divided by T. The paper orders the two outcomes of the
    labelled class the other way round; a divergence does not depend on their order.

    Args:
        positive_logits: of the positives, shape (k, classes).
        object_logits: shape (k, classes); no gradient flows into them.
        temperature: divides both logits, > 0 (T).

    Returns:
        One value per positive, shape (k,).

    Raises:
        ShapeError: the two differ in shape.

    Example:
        >>> import torch
        >>> kd_cls_sigmoid(torch.zeros(1, 2), torch.zeros(1, 2))
        tensor([0.])
    """
    require_same("kd_cls_sigmoid", "k classes", student=positive_logits, teacher=object_logits)
    require_above("kd_cls_sigmoid", 0, temperature=temperature)
    student, teacher = promoted(positive_logits, object_logits.detach())
    student, teacher = student / temperature, teacher / temperature
    yes = teacher.sigmoid() * (F.logsigmoid(teacher) - F.logsigmoid(student))
    no = (-teacher).sigmoid() * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
    return temperature**2 * (yes + no).mean(1)


def kd_cls_sigmoid_l1(positive_logits: Tensor, object_logits: Tensor, *, temperature: Positive = 2.0) -> Tensor:
    """A third form, which only the released code has: sigmoids divided by their sum over the classes.

    Args:
        positive_logits: of the positives, shape (k, classes).
        object_logits: shape (k, classes); no gradient flows into them.
        temperature: divides both logits, > 0.

    Returns:
        Divergence of the two normalised vectors times the squared temperature, one value per positive, (k,).

    Raises:
        ShapeError: the two differ in shape.

    Example:
        >>> import torch
        >>> kd_cls_sigmoid_l1(torch.zeros(1, 2), torch.full((1, 2), -3.0)).abs() < 1e-6
        tensor([True])
    """
    require_same("kd_cls_sigmoid_l1", "k classes", student=positive_logits, teacher=object_logits)
    require_above("kd_cls_sigmoid_l1", 0, temperature=temperature)
    student, teacher = promoted(positive_logits, object_logits.detach())
    log_q, log_p = (_log_share(F.logsigmoid(logits / temperature)) for logits in (student, teacher))
    return temperature**2 * F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)


def _log_share(log_values: Tensor) -> Tensor:
    return log_values - log_values.logsumexp(1, keepdim=True)
