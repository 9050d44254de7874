"""Overhaul of feature distillation: what the teacher's ReLU lets pass, before it passes [heo2019comprehensive]."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.numerics.checks import require_same
from limbeck.numerics.precision import promoted

RARELY_NEGATIVE = 0.001
"""Probability of a negative value, up to which its mean is not computed but set."""


def ofd(student_map: Tensor, teacher_map: Tensor, margin: Tensor) -> Tensor:
    r"""Squared difference before the ReLU, where the teacher is active or the student too active.

    Where the teacher is not active, anything below a margin is as good: the ReLU will hide it. The student's map
    first passes a projector (`ConnectorProjector`), which is trained along and thrown away.

    .. math:: \ell_i = \sum_k [s_{ik} > t'_{ik} \text{ or } t_{ik} > 0] \, (s_{ik} - t'_{ik})^2,
        \quad t' = \max(t, m)

    A teacher's map of another size is averaged to the student's.

    Args:
        student_map: projected map before the activation, shape (n, c, h, w).
        teacher_map: map before the activation, shape (n, c, H, W); no gradient flows into it.
        margin: m, below zero, from `ofd_margin`, shape (c,); no gradient flows into it.

    Returns:
        One value per sample, a sum over channels and positions in squared units of the activations, shape (n,).

    Raises:
        ShapeError: the channels of maps and margin differ.

    Example:
        >>> student, teacher = torch.tensor([-3.0, 1.0]), torch.tensor([-1.0, 2.0])
        >>> ofd(student.view(1, 1, 1, 2), teacher.view(1, 1, 1, 2), torch.tensor([-0.5]))
        tensor([1.])

    References:
        Heo et al., A Comprehensive Overhaul of Feature Distillation, ICCV 2019 [heo2019comprehensive], equations 2
        to 4. There over several stages: stage l of L (from 0) has 0.001 * 2 ** (l + 1 - L) of the weight on CIFAR,
        a tenth of that on ImageNet. The released programs keep the teacher in training mode meanwhile; here it is
        in eval mode, as everywhere.
    """
    student, teacher, margin = promoted(student_map, teacher_map.detach(), margin.detach())
    if teacher.dim() == 4 and student.dim() == 4 and teacher.shape[2:] != student.shape[2:]:
        teacher = F.adaptive_avg_pool2d(teacher, (student.shape[2], student.shape[3]))
    require_same("ofd", "n c h w", student_map=student, teacher_map=teacher)
    if tuple(margin.shape) != (student.shape[1],):
        raise ShapeError(
            f"ofd: margin has shape {tuple(margin.shape)}, but the maps have {student.shape[1]} channels; "
            f"expected ({student.shape[1]},)."
        )
    target = torch.maximum(teacher, margin[:, None, None])
    excess = student - target
    # Where the teacher is silent, only what lies above the target counts.
    counted = torch.where(teacher > 0, excess, excess.relu())
    return counted.square().flatten(1).sum(dim=1)


def ofd_margin(weight: Tensor, bias: Tensor) -> Tensor:
    r"""Mean of a channel's negative values, taken from the batch norm that made the channel.

    .. math:: m = E[x \mid x < 0] = \mu - \sigma \, \frac{\varphi(\mu / \sigma)}{\Phi(-\mu / \sigma)},
        \quad x \sim N(\mu, \sigma^2)

    or -3 sigma where values are negative with a probability of at most 0.001.

    Args:
        weight: of the batch norm, sigma up to its sign, shape (c,).
        bias: of the batch norm, mu, shape (c,).

    Returns:
        The margins, at most zero, shape (c,).

    Raises:
        ShapeError: weight and bias differ in shape.

    Example:
        >>> ofd_margin(torch.tensor([1.0, 1.0]), torch.tensor([0.0, 9.0]))
        tensor([-0.7979, -3.0000])

    References:
        [heo2019comprehensive], equation 5, and the released program.
    """
    require_same("ofd_margin", "c", weight=weight, bias=bias)
    (mean, deviation) = promoted(bias.detach(), weight.detach().abs())
    ratio = mean.double() / deviation.double().clamp_min(torch.finfo(torch.float32).tiny)
    log_negative = torch.special.log_ndtr(-ratio)
    log_density = -0.5 * ratio.square() - 0.5 * math.log(2 * math.pi)
    below = mean - deviation * torch.exp(log_density - log_negative)
    return torch.where(log_negative > math.log(RARELY_NEGATIVE), below, -3 * deviation).to(mean.dtype)
