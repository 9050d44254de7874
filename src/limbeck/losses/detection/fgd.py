"""FGD: focal imitation of what the teacher attends to, and global relations of pixels [yang2022focal]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.bounds import NonNegative, Positive
from limbeck.errors import ShapeError
from limbeck.losses.detection.channel_adapters import ChannelAdapters, channels
from limbeck.numerics.attention_maps import channel_attention, spatial_attention
from limbeck.numerics.checks import require_above
from limbeck.numerics.imitation import box_weights
from limbeck.numerics.levels import require_equal
from limbeck.numerics.precision import no_autocast, promoted


class fgd(nn.Module):
    r"""Focal and global distillation: objects and background apart, under the teacher's attention.

    .. math:: \ell = \frac1n \sum_{\text{levels}} \sum (\alpha M_f + \beta M_b) A^S_t A^C_t (t - s)^2
        + \gamma \left( \|A^S_t - A^S_s\|_1 + \|A^C_t - A^C_s\|_1 \right) + \lambda \|R_T(t) - R_S(s)\|^2

    with M_f and M_b of `limbeck.numerics.imitation.box_weights`, A the attentions over positions and channels and
    R a global-context block for each detector, which starts as the identity.

    Args:
        student_shapes: (c, h, w) of each of the student's levels.
        teacher_shapes: likewise of the teacher's.
        foreground_weight: of the features inside boxes (alpha).
        background_weight: of the features outside (beta).
        attention_weight: of the difference of attentions (gamma).
        relation_weight: of the difference of the global-context blocks (lambda).
        temperature: of the attentions, > 0; 0.5, for FCOS 0.8.

    Raises:
        ShapeError: another number of levels, or shapes that are no maps.
        ConfigError: a temperature that is not above 0.

    Example:
        >>> loss = fgd(student_shapes=[(4, 8, 8)], teacher_shapes=[(8, 8, 8)])
        >>> box = torch.tensor([[0.1, 0.1, 0.6, 0.4]])
        >>> loss([torch.rand(1, 4, 8, 8)], [torch.rand(1, 8, 8, 8)], [box]).shape
        torch.Size([])

    References:
        Yang et al., Focal and Global Knowledge Distillation for Detectors, CVPR 2022 [yang2022focal], sections 3.1
        and 3.2; as in the released program, with its weights for RetinaNet (1e-3, 5e-4, 5e-4, 5e-6). Its weights
        for Faster R-CNN are 5e-5, 2.5e-5, 5e-5, 5e-7 and for FCOS 1.6e-3, 8e-4, 8e-4, 8e-6.
    """

    def __init__(
        self,
        *,
        student_shapes: Sequence[tuple[int, ...]],
        teacher_shapes: Sequence[tuple[int, ...]],
        foreground_weight: NonNegative = 1e-3,
        background_weight: NonNegative = 5e-4,
        attention_weight: NonNegative = 5e-4,
        relation_weight: NonNegative = 5e-6,
        temperature: Positive = 0.5,
    ) -> None:
        super().__init__()
        require_above("fgd", 0, temperature=temperature)
        self.foreground_weight, self.background_weight = foreground_weight, background_weight
        self.attention_weight, self.relation_weight = attention_weight, relation_weight
        self.temperature = temperature
        self.adapters = ChannelAdapters(student_shapes=student_shapes, teacher_shapes=teacher_shapes)
        outside = [taught for _, taught in channels(student_shapes, teacher_shapes)]
        self.student_relations = nn.ModuleList(GlobalContext(each) for each in outside)
        self.teacher_relations = nn.ModuleList(GlobalContext(each) for each in outside)

    def forward(
        self, student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor], boxes: Sequence[Tensor]
    ) -> Tensor:
        """Adapt and compare.

        Args:
            student_maps: one (n, c, h, w) a level.
            teacher_maps: likewise, with the teacher's channels; no gradient flows into them.
            boxes: of the objects of each image, (k, 4), relative to the map: from 0 to 1 along each side.

        Returns:
            A scalar.

        Raises:
            ShapeError: maps or boxes that do not fit each other.
        """
        adapted = self.adapters(student_maps)
        require_equal("fgd", adapted, teacher_maps)
        values = []
        for level, (own, taught) in enumerate(zip(adapted, teacher_maps, strict=True)):
            student, teacher = promoted(own, taught.detach())
            with no_autocast(student):
                values.append(self._features(student, teacher, boxes) + self._relations(level, student, teacher))
        return torch.stack(values).sum() / max(len(teacher_maps[0]), 1)

    def _features(self, student: Tensor, teacher: Tensor, boxes: Sequence[Tensor]) -> Tensor:
        spatial, spatial_s = (spatial_attention(x, temperature=self.temperature) for x in (teacher, student))
        channel, channel_s = (channel_attention(x, temperature=self.temperature) for x in (teacher, student))
        weights = spatial * self._position_weights(boxes, student)
        squares = ((teacher - student).square() * channel[:, :, None, None]).sum(dim=1)
        attention = (spatial - spatial_s).abs().sum() + (channel - channel_s).abs().sum()
        return (squares * weights).sum() + self.attention_weight * attention

    def _position_weights(self, boxes: Sequence[Tensor], like: Tensor) -> Tensor:
        """Shape (n, h, w)."""
        if len(boxes) != len(like):
            raise ShapeError(f"fgd: boxes of {len(boxes)} images, but maps of {len(like)}.")
        height, width = like.shape[2:]
        pairs = [box_weights(each.to(like), size=(height, width)) for each in boxes]
        return torch.stack([self.foreground_weight * f + self.background_weight * b for f, b in pairs])

    def _relations(self, level: int, student: Tensor, teacher: Tensor) -> Tensor:
        gap: Tensor = self.student_relations[level](student) - self.teacher_relations[level](teacher)
        return self.relation_weight * gap.square().sum()


class GlobalContext(nn.Module):
    """A map plus a transformed mean over its positions, weighed by learnt attention; starts as the identity.

    Args:
        channels: of the map; half as many inside.

    Example:
        >>> maps = torch.rand(2, 8, 4, 4)
        >>> torch.equal(GlobalContext(8)(maps), maps)
        True

    References:
        Cao et al., GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond, 2019 [cao2019gcnet].
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inside = max(channels // 2, 1)
        self.attention = nn.Conv2d(channels, 1, 1)
        self.transform = nn.Sequential(
            nn.Conv2d(channels, inside, 1),
            nn.LayerNorm([inside, 1, 1]),
            nn.ReLU(),
            nn.Conv2d(inside, channels, 1),
        )
        nn.init.kaiming_normal_(self.attention.weight, mode="fan_in", nonlinearity="relu")
        nn.init.zeros_(self.attention.bias)  # type: ignore[arg-type]
        last = self.transform[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, maps: Tensor) -> Tensor:
        """Add the context to maps, shape (n, c, h, w)."""
        shares = F.softmax(self.attention(maps).flatten(2), dim=2)
        context = (maps.flatten(2) * shares).sum(dim=2)[:, :, None, None]
        added: Tensor = self.transform(context)
        return maps + added
