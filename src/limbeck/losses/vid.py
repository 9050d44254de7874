"""Variational information distillation: predict the teacher's map, with a learnt spread [ahn2019variational]."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.bounds import Positive
from limbeck.errors import ShapeError
from limbeck.numerics.checks import require_above
from limbeck.numerics.map_sizes import to_smaller
from limbeck.numerics.precision import no_autocast, promoted


class vid(nn.Module):
    """Negative log-likelihood of the teacher's map under a Gaussian that the student's map predicts.

    A bound on the information that the two maps share. Each of the teacher's channels has a learnt variance, so
    channels that the student cannot predict weigh less. The larger map is averaged to the size of the smaller.

    Args:
        student_shape: (c, h, w) of the student's map.
        teacher_shape: (c, h, w) of the teacher's map.
        initial_variance: of every channel; 5 in the released program.
        eps: smallest variance.

    Raises:
        ShapeError: a feature that is no map.
        ConfigError: a variance that is not above `eps`.

    Example:
        >>> loss = vid(student_shape=(4, 8, 8), teacher_shape=(6, 4, 4))
        >>> loss(torch.rand(2, 4, 8, 8), torch.rand(2, 6, 4, 4)).shape
        torch.Size([2])

    References:
        Ahn et al., Variational Information Distillation for Knowledge Transfer, CVPR 2019 [ahn2019variational],
        equations 4 and 5; one term for each stage, weight 1. The variances are trained, as in the paper; one
        widespread program leaves them out of its optimizer by mistake.
    """

    def __init__(
        self,
        *,
        student_shape: tuple[int, ...],
        teacher_shape: tuple[int, ...],
        initial_variance: Positive = 5.0,
        eps: Positive = 1e-5,
    ) -> None:
        super().__init__()
        require_above("vid", 0, eps=eps)
        require_above("vid", eps, initial_variance=initial_variance)
        if len(student_shape) != 3 or len(teacher_shape) != 3:
            raise ShapeError(
                f"vid: needs maps (c, h, w), got features of shape {tuple(student_shape)} and "
                f"{tuple(teacher_shape)}."
            )
        inside, outside = student_shape[0], teacher_shape[0]
        self.mean = nn.Sequential(
            nn.Conv2d(inside, outside, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 1, bias=False),
        )
        self.rho = nn.Parameter(torch.full((outside,), _softplus_inverse(initial_variance - eps)))
        self.eps = eps

    def forward(self, student_map: Tensor, teacher_map: Tensor) -> Tensor:
        """Compare maps.

        Args:
            student_map: shape (n, c, h, w).
            teacher_map: shape (n, C, H, W); no gradient flows into it.

        Returns:
            One value per sample, the mean over channels and positions in nats up to a constant, shape (n,).

        Raises:
            ShapeError: maps with other channels than announced.
        """
        self._check(student_map, teacher_map)
        student, teacher = to_smaller(student_map, teacher_map.detach())
        mean = self.mean(student)
        with no_autocast(mean):
            mean, teacher, rho = promoted(mean, teacher, self.rho)
            variance = (F.softplus(rho) + self.eps)[:, None, None]
            # The logarithms are the same at every position.
            errors = ((mean - teacher).square() / variance).flatten(1).mean(dim=1)
            return 0.5 * (errors + variance.log().mean())

    def _check(self, student: Tensor, teacher: Tensor) -> None:
        first, channels = self.mean[0], len(self.rho)
        assert isinstance(first, nn.Conv2d)
        if (
            student.dim() != 4
            or teacher.dim() != 4
            or len(student) != len(teacher)
            or (student.shape[1], teacher.shape[1]) != (first.in_channels, channels)
        ):
            raise ShapeError(
                f"vid: expected student_map (n, {first.in_channels}, h, w) and teacher_map (n, {channels}, h, w); "
                f"got {tuple(student.shape)} and {tuple(teacher.shape)}."
            )


VID = vid
"""The class under the name that it has in the paper."""


def _softplus_inverse(value: float) -> float:
    return value + math.log(-math.expm1(-value))
