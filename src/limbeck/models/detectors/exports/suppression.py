"""The last suppression of a detector, as torch does it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from limbeck.models.detectors.exports.candidates import Candidates, with_two_more


class Detections(nn.Module):
    """An image to what `limbeck.models.detectors.predict` finds in it.

    Args:
        candidates: of a detector.
    """

    score_threshold: Tensor

    def __init__(self, candidates: Candidates) -> None:
        super().__init__()
        self.candidates = candidates
        # A buffer, so that whoever has the program can change it.
        self.register_buffer("score_threshold", torch.tensor(candidates.score_threshold))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """One image (1, 3, h, w) to `boxes` (k, 4), `labels` (k,) and `scores` (k,), the most certain first."""
        settings = self.candidates
        boxes, scores = settings(images)
        row, column, place = torch.where(scores > self.score_threshold)
        chosen = boxes[row if boxes.shape[0] > 1 else torch.zeros_like(row), place]
        certain, label = scores[row, column, place], row + column
        # Every class in a place of its own. In float64 the shift costs no bit of a box: torchvision, which stays
        # in float32, takes the classes one by one where there are many candidates.
        apart = chosen.double() + (label * (settings.reach + 1)).double()[:, None]
        kept = nms(with_two_more(apart), with_two_more(certain.double()), settings.nms_threshold)
        kept = kept[: settings.most]
        kept = kept[kept < certain.shape[0]]
        label = label[kept] + settings.first_label
        known = torch.where(label >= 0)[0]
        kept = kept[known]
        return {"boxes": chosen[kept] * settings.scale, "labels": label[known], "scores": certain[kept]}
