"""CWD: each channel as a distribution over positions [shu2021channel]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limbeck.bounds import NonNegative, Positive
from limbeck.losses.detection.channel_adapters import ChannelAdapters
from limbeck.numerics.checks import require_above
from limbeck.numerics.divergence import softened_kl
from limbeck.numerics.levels import require_equal


def cwd_loss(
    student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor], *, temperature: Positive = 1.0
) -> Tensor:
    r"""Divergence between the distributions over positions that channels are, summed over levels.

    .. math:: \ell = \sum_{\text{levels}} \frac{\tau^2}{c n} \sum_{c,n}
        \mathrm{KL}\left( \mathrm{softmax}_{hw}(t / \tau) \,\|\, \mathrm{softmax}_{hw}(s / \tau) \right)

    What counts is where a channel is strongest; a constant added to it changes nothing.

    Args:
        student_maps: adapted maps, one (n, c, h, w) a level.
        teacher_maps: likewise; no gradient flows into them.
        temperature: divides the activations, > 0; 1 for maps of a pyramid.

    Returns:
        A scalar, in nats times squared temperature.

    Raises:
        ShapeError: maps that do not fit each other.
        ConfigError: a temperature that is not above 0.

    Example:
        >>> maps = torch.rand(2, 3, 4, 4)
        >>> cwd_loss([maps], [maps]).abs() < 1e-6
        tensor(True)

    References:
        Shu et al., Channel-wise Knowledge Distillation for Dense Prediction, ICCV 2021 [shu2021channel],
        equations 3 and 4.
    """
    require_equal("cwd", student_maps, teacher_maps)
    require_above("cwd", 0, temperature=temperature)
    return (
        temperature**2
        * torch.stack(
            [
                softened_kl(student.flatten(2), teacher.flatten(2), temperature=temperature).mean()
                for student, teacher in zip(student_maps, teacher_maps, strict=True)
            ]
        ).sum()
    )


class cwd(nn.Module):
    """Channel-wise distillation: `cwd_loss`, behind a 1x1 convolution where channels differ.

    Made for dense prediction; on detectors used on maps of a pyramid or on class scores.

    Args:
        student_shapes: (c, h, w) of each of the student's levels.
        teacher_shapes: likewise of the teacher's.
        weight: of each level; 10 on pyramids of Faster R-CNN.
        temperature: divides the activations, > 0 (tau); 1 there.

    Raises:
        ShapeError: another number of levels, or shapes that are no maps.
        ConfigError: a temperature that is not above 0.

    Example:
        >>> loss = cwd(student_shapes=[(2, 4, 4)], teacher_shapes=[(3, 4, 4)])
        >>> loss([torch.rand(1, 2, 4, 4)], [torch.rand(1, 3, 4, 4)]).shape
        torch.Size([])

    References:
        Shu et al., Channel-wise Knowledge Distillation for Dense Prediction, ICCV 2021 [shu2021channel]; defaults
        of a widespread program for detectors.
    """

    def __init__(
        self,
        *,
        student_shapes: Sequence[tuple[int, ...]],
        teacher_shapes: Sequence[tuple[int, ...]],
        weight: NonNegative = 10.0,
        temperature: Positive = 1.0,
    ) -> None:
        super().__init__()
        require_above("cwd", 0, temperature=temperature)
        self.weight, self.temperature = weight, temperature
        self.adapters = ChannelAdapters(student_shapes=student_shapes, teacher_shapes=teacher_shapes)

    def forward(self, student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
        """Adapt and compare.

        Args:
            student_maps: one (n, c, h, w) a level.
            teacher_maps: likewise, with the teacher's channels; no gradient flows into them.

        Returns:
            A scalar, in nats times squared temperature.

        Raises:
            ShapeError: maps that do not fit each other.
        """
        adapted = self.adapters(student_maps)
        return self.weight * cwd_loss(adapted, teacher_maps, temperature=self.temperature)
