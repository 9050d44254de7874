"""Knowledge review: shallow layers of the student learn from a review of all deeper ones [chen2021distilling].

From the deepest feature to the shallowest, each of the student's features is fused, by learnt attention, with what
came from the deeper ones; the results are compared with the teacher's features at several resolutions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.bounds import PositiveInt
from limbeck.errors import ShapeError
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.precision import promoted

GRIDS = (4, 2, 1)
"""Sides of the grids that a map is averaged over, each with half the weight of the one before."""


def reviewkd_hcl(student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
    r"""Squared difference of feature maps at full resolution and averaged over coarser and coarser grids.

    Coarse grids compare what is in a picture, fine ones where it is. Useful alone wherever maps of equal shape are
    compared.

    .. math:: \ell_i = \sum_{\text{maps}} \frac{d(s, t) + \sum_{l \in \{4, 2, 1\}, l < h} w_l \, d(s_l, t_l)}
        {1 + \sum_l w_l}, \quad w = \tfrac12, \tfrac14, \tfrac18

    with d the mean squared difference, h the smaller side of the map and s_l the map averaged over l x l cells; w
    halves from one grid that is used to the next.

    Args:
        student_maps: feature maps (n, c, h, w) or vectors (n, c), projected to the teacher's shapes.
        teacher_maps: likewise; no gradient flows into them.

    Returns:
        One value per sample, summed over the maps, in squared units of the activations, shape (n,).

    Raises:
        ShapeError: another number of maps, or a pair that differs in shape.

    Example:
        >>> maps = [torch.zeros(2, 3, 8, 8), torch.zeros(2, 5)]
        >>> reviewkd_hcl(maps, [torch.ones(2, 3, 8, 8), torch.ones(2, 5)])
        tensor([2., 2.])

    References:
        Chen et al., Distilling Knowledge via Knowledge Review, CVPR 2021 [chen2021distilling], the hierarchical
        context loss; weights as in the released program.
    """
    _require_as_many("reviewkd_hcl", student_maps, teacher_maps)
    return torch.stack([_context(s, t) for s, t in zip(student_maps, teacher_maps, strict=True)]).sum(dim=0)


def _context(student: Tensor, teacher: Tensor) -> Tensor:
    student, teacher = promoted(_as_map(student), _as_map(teacher.detach()))
    require_same("reviewkd_hcl", "n c h w", student_map=student, teacher_map=teacher)
    difference = student - teacher  # averaging is linear, so the maps need not be averaged apart
    height, width = difference.shape[2:]
    nested = height % GRIDS[0] == 0 and width % GRIDS[0] == 0  # then coarse cells are made of whole finer ones
    value, total, weight = difference.square().flatten(1).mean(dim=1), 1.0, 1.0
    source = difference
    for side in GRIDS:
        if side >= min(height, width):
            continue
        weight /= 2
        cells = F.adaptive_avg_pool2d(source, side)
        value = value + weight * cells.square().flatten(1).mean(dim=1)
        total += weight
        source = cells if nested else difference
    return value / total


class reviewkd(nn.Module):
    """Fusion of the student's features from deep to shallow, compared with the teacher's by `reviewkd_hcl`.

    The choice for several feature maps at once: one of the strongest methods on features, at the price of trained
    fusion blocks, which are thrown away. Commonly weighted by min(epoch / 20, 1).

    Args:
        student_shapes: of the student's features from shallow to deep, (c, h, w), or (c,) for a pooled vector.
        teacher_shapes: likewise, one for each.
        mid_channels: channels between the convolutions, at most; no more than the deepest student feature has.

    Raises:
        ShapeError: another number of features, or a feature that is neither map nor vector.

    Example:
        >>> loss = reviewkd(student_shapes=[(4, 8, 8), (8,)], teacher_shapes=[(6, 8, 8), (12,)])
        >>> student = [torch.rand(2, 4, 8, 8), torch.rand(2, 8)]
        >>> loss(student, [torch.rand(2, 6, 8, 8), torch.rand(2, 12)]).shape
        torch.Size([2])

    References:
        Chen et al., Distilling Knowledge via Knowledge Review, CVPR 2021 [chen2021distilling], sections 3.2 and
        3.3; there with the teacher's maps before the last activation, and the pooled vectors as deepest features.
    """

    def __init__(
        self,
        *,
        student_shapes: Sequence[tuple[int, ...]],
        teacher_shapes: Sequence[tuple[int, ...]],
        mid_channels: PositiveInt = 512,
    ) -> None:
        super().__init__()
        require_above("reviewkd", 0, mid_channels=mid_channels)
        student = [_map_shape("student", shape) for shape in student_shapes]
        teacher = [_map_shape("teacher", shape) for shape in teacher_shapes]
        _require_as_many("reviewkd", student, teacher)
        middle = min(mid_channels, student[-1][0])
        # From deep to shallow, in the order in which they are used.
        self.fusions = nn.ModuleList(
            _Fusion(own[0], middle, taught[0], size=(taught[1], taught[2]), deepest=depth == 0)
            for depth, (own, taught) in enumerate(zip(reversed(student), reversed(teacher), strict=True))
        )

    def forward(self, student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
        """Fuse and compare.

        Args:
            student_maps: features from shallow to deep, (n, c, h, w) or (n, c).
            teacher_maps: likewise; no gradient flows into them.

        Returns:
            One value per sample, in squared units of the activations, shape (n,).

        Raises:
            ShapeError: features of other shapes than announced.
        """
        _require_as_many("reviewkd", student_maps, self.fusions)
        fused: list[Tensor] = []
        passed: Tensor | None = None
        for fusion, own in zip(self.fusions, reversed(student_maps), strict=True):
            projected, passed = fusion(_as_map(own), passed)
            fused.append(projected)
        return reviewkd_hcl(fused[::-1], teacher_maps)


ReviewKD = reviewkd
"""The class under the name that it has in the paper."""


class _Fusion(nn.Module):
    """Attention-based fusion of one feature with what came from the deeper ones."""

    def __init__(
        self, channels: int, middle: int, out_channels: int, *, size: tuple[int, int], deepest: bool
    ) -> None:
        super().__init__()
        self.size = size
        self.reduce = nn.Sequential(nn.Conv2d(channels, middle, 1, bias=False), nn.BatchNorm2d(middle))
        self.attention = None if deepest else nn.Conv2d(2 * middle, 2, 1)
        self.project = nn.Sequential(
            nn.Conv2d(middle, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels)
        )
        for block in (self.reduce, self.project):
            weight = block[0].weight
            assert isinstance(weight, Tensor)
            nn.init.kaiming_uniform_(weight, a=1)

    def forward(self, own: Tensor, deeper: Tensor | None) -> tuple[Tensor, Tensor]:
        """What is compared with the teacher, and what is passed on to the next shallower feature."""
        own = self.reduce(own)
        if self.attention is not None and deeper is not None:
            own = self._fused(own, deeper)
        if own.shape[2:] != self.size:
            own = F.interpolate(own, self.size, mode="nearest")
        return self.project(own), own

    def _fused(self, own: Tensor, deeper: Tensor) -> Tensor:
        assert self.attention is not None
        size, middle = own.shape[2:], own.shape[1]
        # The attention on both parts side by side is a sum; on the deeper one it is cheaper before enlarging.
        weight, bias = self.attention.weight, self.attention.bias
        of_deeper = F.conv2d(deeper, weight[:, middle:])
        if deeper.shape[2:] != size:
            deeper, of_deeper = (F.interpolate(x, size, mode="nearest") for x in (deeper, of_deeper))
        shares = torch.sigmoid(F.conv2d(own, weight[:, :middle], bias) + of_deeper)
        return own * shares[:, :1] + deeper * shares[:, 1:]


def _as_map(feature: Tensor) -> Tensor:
    return feature[:, :, None, None] if feature.dim() == 2 else feature


def _map_shape(side: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) == 1:
        return (shape[0], 1, 1)
    if len(shape) == 3:
        return (shape[0], shape[1], shape[2])
    raise ShapeError(
        f"reviewkd: a {side} feature has shape {tuple(shape)}; expected maps (c, h, w) or vectors (c,)."
    )


def _require_as_many(
    where: str, student: Sequence[object] | nn.ModuleList, teacher: Sequence[object] | nn.ModuleList
) -> None:
    if len(student) != len(teacher) or not len(student):
        raise ShapeError(
            f"{where}: {len(student)} features of the student and {len(teacher)} of the teacher; they are "
            "compared one by one."
        )
