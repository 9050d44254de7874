"""Attention transfer: where a network's activations are strong, its student's should be [zagoruyko2017paying]."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor

from limbeck.errors import ConfigError, ShapeError
from limbeck.numerics.map_sizes import to_smaller
from limbeck.numerics.precision import promoted


def at(student_map: Tensor, teacher_map: Tensor, *, power: Annotated[float, Ge(1)] = 2.0) -> Tensor:
    r"""Mean squared difference of two attention maps, each of length one.

    Channels are averaged away, so no projector is needed and any two networks can be compared. A sum over stages
    (taps: "@stages") is what the authors use.

    .. math:: \ell_i = \frac{1}{hw} |Q(s_i) - Q(t_i)|^2, \quad Q(f) = \frac{v}{|v|}, \; v = mean_c |f_c|^p

    Args:
        student_map: shape (n, c, h, w).
        teacher_map: shape (n, c', h', w'); the larger map is averaged to the size of the smaller. No gradient
            flows into it.
        power: of the absolute activations, 1 or more (p); 2 in the paper's experiments.

    Returns:
        One value per sample, dimensionless, shape (n,).

    Raises:
        ShapeError: no maps, or of different numbers of samples.
        ConfigError: a power below 1.

    Example:
        >>> import torch
        >>> at(torch.ones(2, 3, 4, 4), 5 * torch.ones(2, 8, 8, 8))
        tensor([0., 0.])

    References:
        Zagoruyko, Komodakis, Paying More Attention to Attention, ICLR 2017 [zagoruyko2017paying]. The paper takes
        a norm of the difference; the weight of 1000 in common use belongs to this mean over positions.
    """
    if not power >= 1:
        raise ConfigError(f"at: power must be 1 or more, for the gradient to be finite at zero; got {power!r}.")
    if student_map.dim() != 4 or teacher_map.dim() != 4 or len(student_map) != len(teacher_map):
        raise ShapeError(
            f"at: expected two maps (n, c, h, w) of the same samples, got student_map {tuple(student_map.shape)} "
            f"and teacher_map {tuple(teacher_map.shape)}."
        )
    student, teacher = to_smaller(*promoted(student_map, teacher_map.detach()))
    return (_attention(student, power) - _attention(teacher, power)).square().mean(dim=1)


def _attention(maps: Tensor, power: float) -> Tensor:
    strength = maps.square() if power == 2 else maps.abs().pow(power)
    return F.normalize(strength.mean(dim=1).flatten(1), dim=1)
