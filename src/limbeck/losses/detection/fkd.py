"""FKD: imitation where either detector attends, and of the relations between pixels [zhang2021improve]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.bounds import NonNegative, Positive
from limbeck.errors import ConfigError
from limbeck.losses.detection.channel_adapters import ChannelAdapters, channels
from limbeck.numerics.attention_maps import channel_attention, spatial_attention
from limbeck.numerics.checks import require_above
from limbeck.numerics.levels import require_equal
from limbeck.numerics.precision import no_autocast, promoted


class fkd(nn.Module):
    r"""Attention-guided and non-local distillation, in one published sum of four distances.

    .. math:: \ell = \sum_{\text{levels}} \alpha \sqrt{\sum M (t - a(s))^2} + \beta_c \|\bar t_c - A \bar s_c\|
        + \beta_s \|\bar t_{ij} - \mathrm{conv}(\bar s)_{ij}\| + \gamma \|R_T(t) - b(R_S(s))\|

    with the attention M = (M_S + M_T) / 2, \bar t_c and \bar t_{ij} the means over positions and over channels,
    R a non-local block of each detector, and trained adapters a, b (1x1), A (linear), conv (3x3). All norms are
    over the whole batch and not divided by the number of elements.

    Args:
        student_shapes: (c, h, w) of each of the student's levels.
        teacher_shapes: likewise of the teacher's.
        map_weight: of the difference under attention (alpha); 7e-5.
        channel_weight: of the difference of channel means; 4e-3.
        spatial_weight: of the difference of spatial means; 4e-3.
        relation_weight: of the difference of the non-local blocks (gamma); 7e-5.
        temperature: of the attentions, > 0; 0.5.
        source: "code" weighs positions only, as a widespread program; "paper" positions and channels.
        strides: of the pooling inside the non-local blocks, level by level; the last one for all further levels.
        reductions: of the channels inside the non-local blocks, likewise.

    Raises:
        ShapeError: another number of levels, or shapes that are no maps.
        ConfigError: an unknown source, or a number that is not above 0.

    Example:
        >>> loss = fkd(student_shapes=[(4, 8, 8)], teacher_shapes=[(8, 8, 8)])
        >>> loss([torch.rand(2, 4, 8, 8)], [torch.rand(2, 8, 8, 8)]).shape
        torch.Size([])

    References:
        Zhang, Ma, Improve Object Detection with Feature-based Knowledge Distillation, ICLR 2021
        [zhang2021improve], section 3. Weights, strides and reductions as in a widespread program (there FBKD), on
        the first four levels of a pyramid.
    """

    def __init__(
        self,
        *,
        student_shapes: Sequence[tuple[int, ...]],
        teacher_shapes: Sequence[tuple[int, ...]],
        map_weight: NonNegative = 7e-5,
        channel_weight: NonNegative = 4e-3,
        spatial_weight: NonNegative = 4e-3,
        relation_weight: NonNegative = 7e-5,
        temperature: Positive = 0.5,
        source: Literal["code", "paper"] = "code",
        strides: tuple[int, ...] = (8, 4, 2),
        reductions: tuple[int, ...] = (4, 4, 2),
    ) -> None:
        super().__init__()
        if source not in ("code", "paper"):
            raise ConfigError(f"fkd: unknown source '{source}'. Known: code, paper.")
        if not strides or not reductions:
            raise ConfigError("fkd: strides and reductions need at least one number each.")
        require_above("fkd", 0, temperature=temperature, strides=min(strides), reductions=min(reductions))
        self.weights = (map_weight, channel_weight, spatial_weight, relation_weight)
        self.temperature, self.source = temperature, source
        self.adapters = ChannelAdapters(student_shapes=student_shapes, teacher_shapes=teacher_shapes, kernel="1x1")
        sizes = channels(student_shapes, teacher_shapes)
        self.channel_means = nn.ModuleList(nn.Linear(inside, outside) for inside, outside in sizes)
        self.spatial_means = nn.ModuleList(nn.Conv2d(1, 1, 3, padding=1) for _ in sizes)
        self.student_relations, self.teacher_relations, self.relation_adapters = (
            nn.ModuleList(),
            nn.ModuleList(),
            nn.ModuleList(),
        )
        for level, (inside, outside) in enumerate(sizes):
            stride, reduction = strides[min(level, len(strides) - 1)], reductions[min(level, len(reductions) - 1)]
            self.student_relations.append(NonLocalBlock(inside, stride=stride, reduction=reduction))
            self.teacher_relations.append(NonLocalBlock(outside, stride=stride, reduction=reduction))
            self.relation_adapters.append(nn.Conv2d(inside, outside, 1))

    def forward(self, student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
        """Adapt and compare.

        Args:
            student_maps: one (n, c, h, w) a level.
            teacher_maps: likewise, with the teacher's channels; no gradient flows into them.

        Returns:
            A scalar, in units of the activations.

        Raises:
            ShapeError: maps that do not fit each other.
        """
        adapted = self.adapters(student_maps)
        require_equal("fkd", adapted, teacher_maps)
        values = [
            self._level(level, student, own, teacher.detach())
            for level, (student, own, teacher) in enumerate(zip(student_maps, adapted, teacher_maps, strict=True))
        ]
        return torch.stack(values).sum()

    def _level(self, level: int, student: Tensor, adapted: Tensor, teacher: Tensor) -> Tensor:
        student, adapted, teacher = promoted(student, adapted, teacher)
        with no_autocast(student):
            channel = self.channel_means[level](student.mean(dim=(2, 3)))
            spatial = self.spatial_means[level](student.mean(dim=1, keepdim=True))
            relation = self.relation_adapters[level](self.student_relations[level](student))
            gaps = (
                (adapted - teacher) * self._mask(student, adapted, teacher).sqrt(),
                channel - teacher.mean(dim=(2, 3)),
                spatial - teacher.mean(dim=1, keepdim=True),
                relation - self.teacher_relations[level](teacher),
            )
        # The norm's slope at zero is taken as zero, so that equal maps have finite gradients.
        terms = [weight * torch.linalg.vector_norm(gap) for weight, gap in zip(self.weights, gaps, strict=True)]
        return torch.stack(terms).sum()

    def _mask(self, student: Tensor, adapted: Tensor, teacher: Tensor) -> Tensor:
        """Mean attention of the two, a constant of the step."""
        with torch.no_grad():
            both = [spatial_attention(x, temperature=self.temperature) for x in (student, teacher)]
            mask = (both[0] + both[1])[:, None] / 2
            if self.source == "paper":
                both = [channel_attention(x, temperature=self.temperature) for x in (adapted, teacher)]
                mask = mask * (both[0] + both[1])[:, :, None, None] / 2
            return mask


class NonLocalBlock(nn.Module):
    """A map plus what each position gathers from all others, weighed by dot products; starts as the identity.

    Args:
        channels: of the map.
        stride: of the max pooling of what is gathered, at most the size of the map.
        reduction: the channels inside are this many times fewer, at least one.

    Example:
        >>> block = NonLocalBlock(8, stride=2, reduction=4)
        >>> maps = torch.rand(2, 8, 4, 4)
        >>> torch.equal(block(maps), maps)
        True

    References:
        Wang et al., Non-local Neural Networks, CVPR 2018 [wang2018nonlocal], in dot-product form.
    """

    def __init__(self, channels: int, *, stride: int, reduction: int) -> None:
        super().__init__()
        inside = max(channels // reduction, 1)
        self.theta, self.phi, self.gathered = (nn.Conv2d(channels, inside, 1) for _ in range(3))
        self.out = nn.Conv2d(inside, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.stride = stride
        for layer in (self.theta, self.phi, self.gathered):
            nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(self.norm.weight)

    def forward(self, maps: Tensor) -> Tensor:
        """Relate the positions of maps, shape (n, c, h, w)."""
        window = (min(self.stride, maps.shape[2]), min(self.stride, maps.shape[3]))
        asked = self.theta(maps).flatten(2)
        keys, values = (F.max_pool2d(layer(maps), window).flatten(2) for layer in (self.phi, self.gathered))
        # (n, c', keys) x (n, keys, c') first: the same product, without a matrix of all pairs of positions.
        mixed = (values @ keys.mT / keys.shape[2]) @ asked
        out = self.out(mixed.unflatten(2, maps.shape[2:]))
        return maps + self._normalised(out)

    def _normalised(self, out: Tensor) -> Tensor:
        if out.numel() > out.shape[1]:
            return cast(Tensor, self.norm(out))
        # A single value a channel has no batch statistics: the running ones serve.
        norm = self.norm
        return F.batch_norm(out, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)
