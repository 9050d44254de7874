"""An FCOS head whose sides are distributions over distances."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.fcos import FCOSHead, FCOSRegressionHead

FOCAL_WEIGHT = 0.25
"""Of the distribution focal loss beside the loss of the boxes [li2020gfl]."""
SIDES = 4


class DistributionalHead(FCOSHead):  # type: ignore[misc]
    """FCOS's head with, for each side, logits over the distances 0, 1, ..., `bins` in strides [li2020gfl].

    Beside torchvision's outputs it gives `side_logits`, shape (n, A, 4, bins + 1); the box is made of the means.
    Its losses have one more, `side_distribution`: cross-entropy with the two distances next to the true one.

    Args:
        channels: of the pyramid's levels.
        classes: of objects, and the unused column of the background.
        bins: the largest distance.
    """

    def __init__(self, channels: int, classes: int, bins: int) -> None:
        super().__init__(channels, 1, classes)
        self.regression_head = _RegressionHead(channels, bins)

    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        """All outputs by torchvision's names, and `side_logits`."""
        sides, centerness = self.regression_head(x)
        return {
            "cls_logits": self.classification_head(x),
            "bbox_regression": distances(sides),
            "bbox_ctrness": centerness,
            "side_logits": sides,
        }

    def compute_loss(
        self,
        targets: list[dict[str, Tensor]],
        head_outputs: dict[str, Tensor],
        anchors: list[Tensor],
        matched_idxs: list[Tensor],
    ) -> dict[str, Tensor]:
        """Losses by torchvision's names, and `side_distribution`."""
        losses: dict[str, Tensor] = super().compute_loss(targets, head_outputs, anchors, matched_idxs)
        matched = torch.stack(matched_idxs)
        image, anchor = torch.where(matched >= 0)
        offsets = torch.tensor([0, *[len(target["boxes"]) for target in targets]], device=matched.device).cumsum(0)
        boxes = torch.cat([target["boxes"] for target in targets])[offsets[image] + matched[image, anchor]]
        wanted = self.box_coder.encode(torch.stack(anchors)[image, anchor], boxes)
        sides = head_outputs["side_logits"][image, anchor]
        focal = distribution_focal(sides.flatten(0, 1), wanted.flatten()).sum() / SIDES
        return {**losses, "side_distribution": FOCAL_WEIGHT * focal / max(1, len(image))}


class _RegressionHead(FCOSRegressionHead):  # type: ignore[misc]
    """The tower of boxes, with more outputs a side."""

    def __init__(self, channels: int, bins: int) -> None:
        super().__init__(channels, 1)
        self.columns = bins + 1
        self.bbox_reg = nn.Conv2d(channels, SIDES * self.columns, 3, padding=1)
        nn.init.normal_(self.bbox_reg.weight, std=0.01)
        if self.bbox_reg.bias is not None:
            nn.init.zeros_(self.bbox_reg.bias)

    def forward(self, x: list[Tensor]) -> tuple[Tensor, Tensor]:
        found = [self.conv(level) for level in x]
        sides = [self.bbox_reg(level).permute(0, 2, 3, 1).flatten(1, 2) for level in found]
        centerness = [self.bbox_ctrness(level).permute(0, 2, 3, 1).flatten(1, 2) for level in found]
        return torch.cat(sides, 1).unflatten(2, (SIDES, self.columns)), torch.cat(centerness, 1)


def distances(sides: Tensor) -> Tensor:
    """The mean distance of each side, in strides: from (..., 4, bins + 1) to (..., 4)."""
    steps = torch.arange(sides.shape[-1], device=sides.device, dtype=torch.float32)
    return (sides.float().softmax(-1) * steps).sum(-1)  # a matrix product would be one of autocast's


def distribution_focal(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy with the two whole distances around the true one, by nearness ([li2020gfl], equation 6).

    Args:
        logits: shape (k, bins + 1).
        wanted: distance in strides, shape (k,); beyond the last bin it counts as just within.

    Returns:
        (k,) float32.

    Example:
        >>> distribution_focal(torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([0.25]))
        tensor([1.0986])
    """
    last = logits.shape[-1] - 1
    wanted = wanted.float().clamp(0, last - 0.01)
    below = wanted.floor()
    said = F.log_softmax(logits.float(), -1)
    left = said.gather(1, below.long()[:, None])[:, 0]
    right = said.gather(1, below.long()[:, None] + 1)[:, 0]
    return -(left * (below + 1 - wanted) + right * (wanted - below))
