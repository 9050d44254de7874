"""DeFeat: objects and background are imitated apart, on maps and on proposals [guo2021defeat]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limbeck.bounds import NonNegative, Positive
from limbeck.errors import ShapeError
from limbeck.losses.detection.channel_adapters import ChannelAdapters
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.divergence import softened_kl
from limbeck.numerics.imitation import box_mask
from limbeck.numerics.levels import require_equal
from limbeck.numerics.precision import promoted


def defeat_loss(
    student_maps: Sequence[Tensor],
    teacher_maps: Sequence[Tensor],
    boxes: Sequence[Tensor],
    *,
    foreground_weight: NonNegative = 3.0,
    background_weight: NonNegative = 12.0,
) -> Tensor:
    r"""Half the mean squared difference inside boxes and half that outside, each with its weight.

    .. math:: \ell = \frac{1}{L} \sum_{\text{levels}} \frac{\lambda_f}{2 N_f} \sum M (s - t)^2
        + \frac{\lambda_b}{2 N_b} \sum (1 - M) (s - t)^2

    with M one inside boxes, and the counts N over batch, positions and channels.

    Args:
        student_maps: adapted maps, one (n, c, h, w) a level.
        teacher_maps: likewise; no gradient flows into them.
        boxes: of the objects of each image, (k, 4), relative to the map: from 0 to 1 along each side.
        foreground_weight: of the part inside boxes; 3 in the released settings.
        background_weight: of the part outside; 12 in the released settings.

    Returns:
        A scalar, in squared units of the activations.

    Raises:
        ShapeError: maps or boxes that do not fit each other.

    Example:
        >>> box = torch.tensor([[0.0, 0.0, 0.5, 0.5]])
        >>> defeat_loss([torch.zeros(1, 3, 2, 2)], [torch.ones(1, 3, 2, 2)], [box])
        tensor(7.5000)

    References:
        Guo et al., Distilling Object Detectors via Decoupled Features, CVPR 2021 [guo2021defeat], equation 4.
    """
    require_equal("defeat", student_maps, teacher_maps)
    values = []
    for own, taught in zip(student_maps, teacher_maps, strict=True):
        student, teacher = promoted(own, taught.detach())
        inside = _foreground(boxes, student)
        squares = (student - teacher).square()
        means = [
            (squares * mask).sum() / (mask.sum() * student.shape[1]).clamp(min=1) for mask in (inside, ~inside)
        ]
        values.append((foreground_weight * means[0] + background_weight * means[1]) / 2)
    return torch.stack(values).mean()


class defeat(nn.Module):
    """Decoupled imitation of maps: `defeat_loss` behind a trained 3x3 convolution on the student's maps.

    The background tells a student something too, but at its own weight, or it would drown the objects.

    Args:
        student_shapes: (c, h, w) of each of the student's levels.
        teacher_shapes: likewise of the teacher's.
        foreground_weight: of the part inside boxes; 3 in the released settings (Faster R-CNN on VOC).
        background_weight: of the part outside; 12 in the released settings.

    Raises:
        ShapeError: another number of levels, or shapes that are no maps.

    Example:
        >>> loss = defeat(student_shapes=[(2, 4, 4)], teacher_shapes=[(3, 4, 4)])
        >>> loss([torch.rand(1, 2, 4, 4)], [torch.rand(1, 3, 4, 4)], [torch.zeros(0, 4)]).shape
        torch.Size([])

    References:
        Guo et al., Distilling Object Detectors via Decoupled Features, CVPR 2021 [guo2021defeat], section 3.2;
        two-stage detectors add `defeat_proposals`.
    """

    def __init__(
        self,
        *,
        student_shapes: Sequence[tuple[int, ...]],
        teacher_shapes: Sequence[tuple[int, ...]],
        foreground_weight: NonNegative = 3.0,
        background_weight: NonNegative = 12.0,
    ) -> None:
        super().__init__()
        self.foreground_weight, self.background_weight = foreground_weight, background_weight
        self.adapters = ChannelAdapters(student_shapes=student_shapes, teacher_shapes=teacher_shapes, kernel="3x3")

    def forward(
        self, student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor], boxes: Sequence[Tensor]
    ) -> Tensor:
        """Adapt and compare.

        Args:
            student_maps: one (n, c, h, w) a level.
            teacher_maps: likewise, with the teacher's channels; no gradient flows into them.
            boxes: of the objects of each image, (k, 4), relative to the map.

        Returns:
            A scalar, in squared units of the activations.

        Raises:
            ShapeError: maps or boxes that do not fit each other.
        """
        return defeat_loss(
            self.adapters(student_maps),
            teacher_maps,
            boxes,
            foreground_weight=self.foreground_weight,
            background_weight=self.background_weight,
        )


def defeat_proposals(
    student_logits: Tensor,
    teacher_logits: Tensor,
    proposal_labels: Tensor,
    *,
    foreground_weight: NonNegative = 2.0,
    background_weight: NonNegative = 2.0,
    temperature: Positive = 1.0,
) -> Tensor:
    r"""Divergence of class scores on the same proposals, means over objects and over background apart.

    .. math:: \ell = T^2 \left( \frac{\beta_f}{K_f} \sum_{y_r > 0} \mathrm{KL}_r
        + \frac{\beta_b}{K_b} \sum_{y_r = 0} \mathrm{KL}_r \right)

    Args:
        student_logits: shape (r, classes + 1).
        teacher_logits: on the same proposals, shape (r, classes + 1); no gradient flows into them.
        proposal_labels: shape (r,), 0 for background.
        foreground_weight: of the mean over proposals with an object; 2 in the released settings.
        background_weight: of the mean over the others; 2 in the released settings.
        temperature: divides both logits, > 0; 1 in the released settings.

    Returns:
        A scalar, in nats; 0 without proposals.

    Raises:
        ShapeError: logits or labels that do not fit each other.

    Example:
        >>> defeat_proposals(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0, 1]))
        tensor(0.)

    References:
        Guo et al., Distilling Object Detectors via Decoupled Features, CVPR 2021 [guo2021defeat], equation 6.
    """
    require_same("defeat_proposals", "r c", student_logits=student_logits, teacher_logits=teacher_logits)
    require_above("defeat_proposals", 0, temperature=temperature)
    if proposal_labels.shape != student_logits.shape[:1]:
        raise ShapeError(
            f"defeat_proposals: {len(student_logits)} proposals, but proposal_labels "
            f"{tuple(proposal_labels.shape)}."
        )
    values = softened_kl(student_logits, teacher_logits, temperature=temperature)
    found = proposal_labels > 0
    means = [(values * mask).sum() / mask.sum().clamp(min=1) for mask in (found, ~found)]
    return temperature**2 * (foreground_weight * means[0] + background_weight * means[1])


def _foreground(boxes: Sequence[Tensor], like: Tensor) -> Tensor:
    """bool, shape (n, 1, h, w)."""
    if len(boxes) != len(like):
        raise ShapeError(f"defeat: boxes of {len(boxes)} images, but maps of {len(like)}.")
    height, width = like.shape[2:]
    return torch.stack([box_mask(each.to(like), size=(height, width)) for each in boxes])[:, None]
