"""FGFI: imitate the teacher's features where anchors are near objects [wang2019distilling]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limbeck.bounds import NonNegative
from limbeck.errors import ShapeError
from limbeck.losses.detection.channel_adapters import ChannelAdapters
from limbeck.numerics.levels import require_equal
from limbeck.numerics.precision import promoted


def fgfi_loss(
    student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor], anchor_masks: Sequence[Tensor]
) -> Tensor:
    r"""Squared difference of features inside masks, over twice the number of positions in them.

    .. math:: \ell = \frac{1}{2 N_p} \sum_{\text{levels}} \sum_{n,i,j} I_{nij} \sum_c (s_{ncij} - t_{ncij})^2,
        \quad N_p = \sum I

    Args:
        student_maps: adapted maps, one (n, c, h, w) a level.
        teacher_maps: likewise; no gradient flows into them.
        anchor_masks: bool, one (n, h, w) a level, from `limbeck.numerics.imitation.imitation_mask`.

    Returns:
        A scalar, in squared units of the activations; 0 where the masks are empty.

    Raises:
        ShapeError: maps or masks that do not fit each other.

    Example:
        >>> fgfi_loss([torch.zeros(1, 3, 2, 2)], [torch.ones(1, 3, 2, 2)], [torch.ones(1, 2, 2, dtype=torch.bool)])
        tensor(1.5000)

    References:
        Wang et al., Distilling Object Detectors with Fine-grained Feature Imitation, CVPR 2019
        [wang2019distilling], equation 3.
    """
    require_equal("fgfi", student_maps, teacher_maps)
    shapes = [(len(x), *x.shape[2:]) for x in student_maps]
    if [tuple(mask.shape) for mask in anchor_masks] != shapes:
        raise ShapeError(
            f"fgfi: expected anchor_masks of shapes {shapes}, one a level; got "
            f"{[tuple(mask.shape) for mask in anchor_masks]}."
        )
    sums = []
    for own, taught, mask in zip(student_maps, teacher_maps, anchor_masks, strict=True):
        student, teacher = promoted(own, taught.detach())
        sums.append(((student - teacher).square().sum(dim=1) * mask).sum())
    positions = torch.stack([mask.sum() for mask in anchor_masks]).sum()
    return torch.stack(sums).sum() / (2 * positions.clamp(min=1))


class fgfi(nn.Module):
    """Fine-grained feature imitation: `fgfi_loss` behind a trained 3x3 convolution on the student's maps.

    Positions near objects carry what a detector needs; most of the background would only add noise.

    Args:
        student_shapes: (c, h, w) of each of the student's levels.
        teacher_shapes: likewise of the teacher's.
        weight: of the term; 0.01 in the released program (Faster R-CNN on VOC).

    Raises:
        ShapeError: another number of levels, or shapes that are no maps.

    Example:
        >>> loss = fgfi(student_shapes=[(2, 4, 4)], teacher_shapes=[(3, 4, 4)])
        >>> mask = torch.ones(1, 4, 4, dtype=torch.bool)
        >>> loss([torch.rand(1, 2, 4, 4)], [torch.rand(1, 3, 4, 4)], [mask]).shape
        torch.Size([])

    References:
        Wang et al., Distilling Object Detectors with Fine-grained Feature Imitation, CVPR 2019
        [wang2019distilling], section 3. The released program leaves the term out of the first 400 steps and
        imitates one level, whose adapter ends in a ReLU as the level does; maps of a pyramid have both signs, so
        there is none here, and all levels share one count of positions.
    """

    def __init__(
        self,
        *,
        student_shapes: Sequence[tuple[int, ...]],
        teacher_shapes: Sequence[tuple[int, ...]],
        weight: NonNegative = 0.01,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.adapters = ChannelAdapters(student_shapes=student_shapes, teacher_shapes=teacher_shapes, kernel="3x3")

    def forward(
        self, student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor], anchor_masks: Sequence[Tensor]
    ) -> Tensor:
        """Adapt and compare.

        Args:
            student_maps: one (n, c, h, w) a level.
            teacher_maps: likewise, with the teacher's channels; no gradient flows into them.
            anchor_masks: bool, one (n, h, w) a level.

        Returns:
            A scalar, in squared units of the activations.

        Raises:
            ShapeError: maps or masks that do not fit each other.
        """
        return self.weight * fgfi_loss(self.adapters(student_maps), teacher_maps, anchor_masks)
