"""MGD: restore the teacher's map from the student's, parts of which are masked [yang2022masked]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limbeck.bounds import Fraction, NonNegative
from limbeck.losses.detection.channel_adapters import ChannelAdapters, channels
from limbeck.numerics.levels import require_equal
from limbeck.numerics.precision import promoted


class mgd(nn.Module):
    r"""Squared error of a small generator that predicts the teacher's map from a randomly masked student's.

    .. math:: \ell = \sum_{\text{levels}} \frac{\alpha}{n} \left\| G(a(s) \odot M) - t \right\|^2

    with G convolution 3x3, ReLU, convolution 3x3, and M zero at random positions, the same in all channels. A
    pixel must be guessed from those around it, which asks more of the student than copying. Masks are drawn from
    torch's generator of the device, which a run seeds anew before each step.

    Args:
        student_shapes: (c, h, w) of each of the student's levels.
        teacher_shapes: likewise of the teacher's.
        weight: of each level (alpha); 2e-5 for one-stage detectors, 5e-7 for two-stage ones.
        masked: fraction of positions that are masked (lambda); 0.65 and 0.45.

    Raises:
        ShapeError: another number of levels, or shapes that are no maps.

    Example:
        >>> loss = mgd(student_shapes=[(2, 4, 4)], teacher_shapes=[(3, 4, 4)])
        >>> loss([torch.rand(1, 2, 4, 4)], [torch.rand(1, 3, 4, 4)]).shape
        torch.Size([])

    References:
        Yang et al., Masked Generative Distillation, ECCV 2022 [yang2022masked], section 3.1; a 1x1 convolution
        precedes where channels differ, as in the released program. The norm is a sum over elements.
    """

    def __init__(
        self,
        *,
        student_shapes: Sequence[tuple[int, ...]],
        teacher_shapes: Sequence[tuple[int, ...]],
        weight: NonNegative = 2e-5,
        masked: Fraction = 0.65,
    ) -> None:
        super().__init__()
        self.weight, self.masked = weight, masked
        self.adapters = ChannelAdapters(student_shapes=student_shapes, teacher_shapes=teacher_shapes)
        self.generators = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(outside, outside, 3, padding=1), nn.ReLU(), nn.Conv2d(outside, outside, 3, padding=1)
            )
            for _, outside in channels(student_shapes, teacher_shapes)
        )

    def forward(self, student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
        """Mask, restore and compare.

        Args:
            student_maps: one (n, c, h, w) a level.
            teacher_maps: likewise, with the teacher's channels; no gradient flows into them.

        Returns:
            A scalar, in squared units of the activations.

        Raises:
            ShapeError: maps that do not fit each other.
        """
        adapted = self.adapters(student_maps)
        require_equal("mgd", adapted, teacher_maps)
        values = []
        for generator, own, taught in zip(self.generators, adapted, teacher_maps, strict=True):
            restored, teacher = promoted(generator(own * position_mask(own, self.masked)), taught.detach())
            values.append((restored - teacher).square().sum() / max(len(own), 1))
        return self.weight * torch.stack(values).sum()


def position_mask(maps: Tensor, masked: float) -> Tensor:
    """Ones and, at a fraction of the positions, zeros; one mask for all channels of a map.

    Args:
        maps: shape (n, c, h, w).
        masked: chance of a position to be zero.

    Returns:
        Shape (n, 1, h, w), of the type of the maps.

    Example:
        >>> int(position_mask(torch.zeros(2, 3, 4, 4), 0.0).sum())
        32
    """
    draws = torch.rand(len(maps), 1, *maps.shape[2:], device=maps.device)
    return (draws >= masked).to(maps.dtype)
