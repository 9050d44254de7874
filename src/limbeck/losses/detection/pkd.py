"""PKD: correlate the teacher's and the student's channels, whatever their scale [cao2022pkd]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limbeck.bounds import NonNegative
from limbeck.losses.detection.channel_adapters import ChannelAdapters
from limbeck.numerics.channel_moments import standardised
from limbeck.numerics.levels import require_equal, resize_to


def pkd_loss(student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
    r"""Half the mean squared difference of maps whose channels are standardised, summed over levels.

    .. math:: \ell = \sum_{\text{levels}} \frac{1}{2 c m} \sum_{c,m} (\hat s_{cm} - \hat t_{cm})^2
        \approx \sum_{\text{levels}} (1 - r)

    with every channel at mean 0 and deviation 1 over batch and positions m, and r the mean over channels of
    Pearson's correlation. Any scale and shift of a channel, of student or teacher, changes nothing.

    Args:
        student_maps: one (n, c, h, w) a level; resized bilinearly to the teacher's where sizes differ.
        teacher_maps: likewise; no gradient flows into them.

    Returns:
        A scalar without unit, from 0 to 2 for each level.

    Raises:
        ShapeError: maps that do not fit each other.

    Example:
        >>> maps = torch.rand(2, 3, 4, 4)
        >>> bool(pkd_loss([maps], [5 * maps - 1]) < 1e-6)
        True

    References:
        Cao et al., PKD: General Distillation Framework for Object Detectors via Pearson Correlation Coefficient,
        NeurIPS 2022 [cao2022pkd], equations 3 and 4. Statistics are those of one process's batch and deviations
        are unbiased, as in the released program.
    """
    student_maps = resize_to(student_maps, teacher_maps)
    require_equal("pkd", student_maps, teacher_maps)
    return torch.stack(
        [
            (standardised(student) - standardised(teacher.detach())).square().mean() / 2
            for student, teacher in zip(student_maps, teacher_maps, strict=True)
        ]
    ).sum()


class pkd(nn.Module):
    """Pearson correlation of feature maps: `pkd_loss`, behind a 1x1 convolution where channels differ.

    The simplest strong way from detector to detector, and the least sensitive to scale: it also works between
    detectors of different kinds.

    Args:
        student_shapes: (c, h, w) of each of the student's levels.
        teacher_shapes: likewise of the teacher's.
        weight: of each level; 6 for Faster R-CNN, 10 for most one-stage students.

    Raises:
        ShapeError: another number of levels, or shapes that are no maps.

    Example:
        >>> loss = pkd(student_shapes=[(2, 4, 4)], teacher_shapes=[(3, 4, 4)])
        >>> loss([torch.rand(1, 2, 4, 4)], [torch.rand(1, 3, 4, 4)]).shape
        torch.Size([])

    References:
        Cao et al., PKD: General Distillation Framework for Object Detectors via Pearson Correlation Coefficient,
        NeurIPS 2022 [cao2022pkd]; weights of the released settings, on the first four levels of a pyramid.
    """

    def __init__(
        self,
        *,
        student_shapes: Sequence[tuple[int, ...]],
        teacher_shapes: Sequence[tuple[int, ...]],
        weight: NonNegative = 6.0,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.adapters = ChannelAdapters(student_shapes=student_shapes, teacher_shapes=teacher_shapes)

    def forward(self, student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
        """Adapt and compare.

        Args:
            student_maps: one (n, c, h, w) a level.
            teacher_maps: likewise, with the teacher's channels; no gradient flows into them.

        Returns:
            A scalar without unit.

        Raises:
            ShapeError: maps that do not fit each other.
        """
        return self.weight * pkd_loss(self.adapters(student_maps), teacher_maps)
