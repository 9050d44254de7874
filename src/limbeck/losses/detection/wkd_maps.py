"""WKD-F on the feature maps or the pooled proposals of detectors [lv2024wasserstein]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limbeck.bounds import NonNegative, Positive, PositiveInt
from limbeck.losses.detection.channel_adapters import ChannelAdapters
from limbeck.losses.wkd_feature import wkd_feature
from limbeck.numerics.checks import require_above
from limbeck.numerics.levels import require_equal
from limbeck.numerics.precision import promoted


class wkd_maps(nn.Module):
    """`limbeck.losses.wkd_feature` of each level of a pyramid, summed over levels, mean over images.

    Channels are compared as Gaussians over the pixels of a cell, so objects need not lie on the same pixel. A 1x1
    convolution brings the student's channels to the teacher's where they differ. Maps that are too small for the
    grid use fewer cells.

    Args:
        student_shapes: (c, h, w) of each of the student's levels.
        teacher_shapes: likewise of the teacher's.
        weight: of each level; 0.02 on ImageNet (ResNet34 to ResNet18).
        grid: cells along each side; 4 there.
        mean_weight: of the means against the deviations; 2 there.
        eps: added to variances before the root, > 0.

    Raises:
        ShapeError: another number of levels, or shapes that are no maps.
        ConfigError: a grid or eps that is not above 0.

    Example:
        >>> loss = wkd_maps(student_shapes=[(4, 8, 8)], teacher_shapes=[(6, 8, 8)])
        >>> loss([torch.rand(2, 4, 8, 8)], [torch.rand(2, 6, 8, 8)]).shape
        torch.Size([])

    References:
        Lv, Yang, Li, Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge Distillation, NeurIPS
        2024 [lv2024wasserstein], which reports Faster R-CNN. No program or setting for detectors was released;
        this is our construction, with the weights of its setting for ImageNet. The published projectors end in a
        ReLU, which maps of a pyramid do not, so there is none here.
    """

    def __init__(
        self,
        *,
        student_shapes: Sequence[tuple[int, ...]],
        teacher_shapes: Sequence[tuple[int, ...]],
        weight: NonNegative = 0.02,
        grid: PositiveInt = 4,
        mean_weight: NonNegative = 2.0,
        eps: Positive = 1e-5,
    ) -> None:
        super().__init__()
        require_above("wkd_maps", 0, grid=grid, eps=eps)
        self.weight, self.grid, self.mean_weight, self.eps = weight, grid, mean_weight, eps
        self.adapters = ChannelAdapters(student_shapes=student_shapes, teacher_shapes=teacher_shapes)

    def forward(self, student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
        """Adapt and compare.

        Args:
            student_maps: one (n, c, h, w) a level.
            teacher_maps: likewise, with the teacher's channels; no gradient flows into them.

        Returns:
            A scalar, in squared units of the activations.

        Raises:
            ShapeError: maps that do not fit each other.
        """
        adapted = self.adapters(student_maps)
        require_equal("wkd_maps", adapted, teacher_maps)
        values = [
            _distance(own, taught, grid=self.grid, mean_weight=self.mean_weight, eps=self.eps)
            for own, taught in zip(adapted, teacher_maps, strict=True)
        ]
        return self.weight * torch.stack(values).sum()


class wkd_pooled(nn.Module):
    """`limbeck.losses.wkd_feature` of what two box heads are given for the same proposals, mean over proposals.

    A 1x1 convolution brings the student's channels to the teacher's where they differ.

    Args:
        student_shape: (c, h, w) of the student's pooled proposals.
        teacher_shape: likewise of the teacher's.
        weight: of the term; 0.02 on ImageNet (ResNet34 to ResNet18).
        grid: cells along each side; 1 is the whole proposal.
        mean_weight: of the means against the deviations; 2 on ImageNet.
        eps: added to variances before the root, > 0.

    Raises:
        ShapeError: shapes that are no maps.
        ConfigError: a grid or eps that is not above 0.

    Example:
        >>> loss = wkd_pooled(student_shape=(4, 7, 7), teacher_shape=(6, 7, 7))
        >>> loss(torch.rand(5, 4, 7, 7), torch.rand(5, 6, 7, 7)).shape
        torch.Size([])

    References:
        Lv, Yang, Li, Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge Distillation, NeurIPS
        2024 [lv2024wasserstein]; our construction, as `wkd_maps`.
    """

    def __init__(
        self,
        *,
        student_shape: tuple[int, ...],
        teacher_shape: tuple[int, ...],
        weight: NonNegative = 0.02,
        grid: PositiveInt = 1,
        mean_weight: NonNegative = 2.0,
        eps: Positive = 1e-5,
    ) -> None:
        super().__init__()
        require_above("wkd_pooled", 0, grid=grid, eps=eps)
        self.weight, self.grid, self.mean_weight, self.eps = weight, grid, mean_weight, eps
        self.adapters = ChannelAdapters(student_shapes=[student_shape], teacher_shapes=[teacher_shape])

    def forward(self, student_pooled: Tensor, teacher_pooled: Tensor) -> Tensor:
        """Adapt and compare.

        Args:
            student_pooled: shape (r, c, h, w).
            teacher_pooled: of the same proposals, shape (r, c', h, w); no gradient flows into it.

        Returns:
            A scalar, in squared units of the activations; 0 without proposals.

        Raises:
            ShapeError: shapes that do not fit each other.
        """
        adapted = self.adapters([student_pooled])
        require_equal("wkd_pooled", adapted, [teacher_pooled])
        return self.weight * _distance(
            adapted[0], teacher_pooled, grid=self.grid, mean_weight=self.mean_weight, eps=self.eps
        )


def _distance(student: Tensor, teacher: Tensor, *, grid: int, mean_weight: float, eps: float) -> Tensor:
    """Mean over the batch; with the most cells, up to `grid` a side, that have two pixels or more."""
    height, width = student.shape[2:]
    if not len(student):  # nothing to compare, but adapters stay part of the graph
        return promoted(student)[0].sum()
    if height * width == 1:  # a deviation over one pixel does not exist: its mean is all there is
        student, teacher = promoted(student, teacher.detach())
        values = mean_weight * (student - teacher).square().flatten(1).sum(dim=1)
    else:
        cells = max(side for side in range(1, grid + 1) if _pixels(height, side) * _pixels(width, side) > 1)
        values = wkd_feature(student, teacher, grid=cells, mean_weight=mean_weight, eps=eps)
    return values.mean()


def _pixels(size: int, cells: int) -> int:
    """Along a side, in the smallest of overlapping cells."""
    return min(-(-(cell + 1) * size // cells) - cell * size // cells for cell in range(cells))
