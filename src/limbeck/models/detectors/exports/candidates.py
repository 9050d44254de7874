"""A detector up to its last suppression as a graph of fixed shapes: an image in, candidates out.

torchvision's own forward pass branches on how many candidates there are, which no graph can hold. Here nothing
does: a candidate that torchvision would drop before the suppression has the score -1 and stays in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.models.detection.ssd import SSD
from torchvision.ops import MultiScaleRoIAlign, roi_align
from torchvision.ops import boxes as box_ops

from limbeck.errors import ModelError
from limbeck.models.detectors.predicting import predict

DROPPED = -1.0
"""The score of what is no candidate."""
SMALL_BOX = 1e-2
"""Side in pixels below which Faster R-CNN drops a box."""


class Candidates(nn.Module):
    """The boxes and scores that the last suppression of a detector chooses from.

    Called with one image, float32 (1, 3, h, w) in [0, 1], it gives boxes (b, k, 4) in pixels of the network's
    input and scores (b, s, k): one set of boxes for all classes (b = 1), or one a class (s = 1).

    Args:
        detector: in eval mode.
        size: height and width of the image.

    Attributes:
        first_label: that the first class has; -1 for families with a column that is no class.
        scale: (4,) from the network's input to pixels of the image.
        score_threshold: above it, a candidate is one.
        nms_threshold: overlap above which the less certain of two candidates is dropped.
        most: detections, an image.
        reach: no box has a coordinate beyond it.
    """

    first_label = 0
    scale: Tensor
    anchors: Tensor

    def __init__(self, detector: Any, size: tuple[int, int]) -> None:
        super().__init__()
        self.detector = detector
        with torch.no_grad():
            image = torch.zeros(3, *size)
            images, _ = detector.transform([image])
            levels = list(detector.backbone(images.tensors).values())
            (anchors,) = self._anchor_generator()(images, levels)
        # Of fixed size, so computed once; a buffer moves with the graph to another device.
        self.register_buffer("anchors", anchors)
        self.cells = [level.shape[2] * level.shape[3] for level in levels]
        height, width = self.inner = tuple(int(side) for side in images.image_sizes[0])
        self.reach = float(max(height, width))
        ratios = [torch.tensor(float(a)) / torch.tensor(float(b)) for a, b in zip(size, self.inner, strict=True)]
        self.register_buffer("scale", torch.stack([ratios[1], ratios[0]] * 2))
        part: Any = decider(detector)
        self.score_threshold = float(part.score_thresh)
        self.nms_threshold = float(part.nms_thresh)
        self.most = int(part.detections_per_img)

    def _anchor_generator(self) -> Any:
        return self.detector.anchor_generator

    def _features(self, image: Tensor) -> dict[str, Tensor]:
        images, _ = self.detector.transform([image])
        levels: dict[str, Tensor] = self.detector.backbone(images.tensors)
        return levels

    def _clipped(self, boxes: Tensor) -> Tensor:
        clipped: Tensor = box_ops.clip_boxes_to_image(boxes, self.inner)
        return clipped


class SoftmaxCandidates(Candidates):
    """Of SSD: the best so many of each class."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """An image to boxes (1, A, 4) and scores (1, C, A)."""
        features = self._features(images[0])
        outputs = self.detector.head(list(features.values()))
        boxes = self.detector.box_coder.decode_single(outputs["bbox_regression"][0], self.anchors)
        scores = outputs["cls_logits"][0].softmax(-1)[:, 1:].T
        return self._clipped(boxes)[None], _best(scores, self.detector.topk_candidates)[None]


class SigmoidCandidates(Candidates):
    """Of RetinaNet and FCOS: the best so many of each level, whatever the class."""

    first_label = -1

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """An image to boxes (1, A, 4) and scores (1, C + 1, A)."""
        features = self._features(images[0])
        outputs = self.detector.head(list(features.values()))
        deltas = outputs["bbox_regression"][0]
        scores = outputs["cls_logits"][0].sigmoid()
        if "bbox_ctrness" in outputs:
            scores = (scores * outputs["bbox_ctrness"][0].sigmoid()).sqrt()
        coder = self.detector.box_coder
        decode = coder.decode_single if hasattr(coder, "decode_single") else coder.decode
        boxes = self._clipped(decode(deltas, self.anchors))
        each = scores.shape[0] // sum(self.cells)
        levels = scores.split([each * cells for cells in self.cells])
        kept = [_best(level.flatten(), self.detector.topk_candidates).view_as(level) for level in levels]
        return boxes[None], torch.cat(kept).T[None]


class TwoStageCandidates(Candidates):
    """Of Faster R-CNN: every proposal as every class, each with a box of its own."""

    def __init__(self, detector: Any, size: tuple[int, int]) -> None:
        super().__init__(detector, size)
        pool = detector.roi_heads.box_roi_pool
        if not isinstance(pool, MultiScaleRoIAlign):
            raise ModelError(
                f"the second stage pools by {type(pool).__name__}; what can be captured as a graph is "
                "torchvision's MultiScaleRoIAlign."
            )
        if pool.scales is None:  # it finds them out at its first image
            predict(detector, [torch.zeros(3, *size)])

    def _anchor_generator(self) -> Any:
        return self.detector.rpn.anchor_generator

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """An image to boxes (C, r, 4) and scores (C, 1, r) of r proposals."""
        features = self._features(images[0])
        proposals, real = self._proposals(features)
        heads = self.detector.roi_heads
        logits, deltas = heads.box_predictor(heads.box_head(self._pooled(features, proposals)))
        boxes = heads.box_coder.decode_single(deltas, proposals).view(len(proposals), -1, 4)
        boxes = self._clipped(boxes)[:, 1:].transpose(0, 1)
        scores = logits.softmax(-1)[:, 1:].T
        large = ((boxes[..., 2:] - boxes[..., :2]) >= SMALL_BOX).all(-1)
        return boxes, torch.where(large & real, scores, DROPPED)[:, None]

    def _pooled(self, features: dict[str, Tensor], proposals: Tensor) -> Tensor:
        """What the second stage sees of each proposal, (r, c, 7, 7).

        Every proposal is pooled from every level and taken from the one that it belongs to: how many belong to a
        level depends on the image.
        """
        pool = self.detector.roi_heads.box_roi_pool
        level = pool.map_levels([proposals])[:, None, None, None]
        rois = torch.cat([torch.zeros_like(proposals[:, :1]), proposals], 1)
        maps = [level for name, level in features.items() if name in pool.featmap_names]
        pooled = [
            roi_align(found, rois, pool.output_size, scale, pool.sampling_ratio)
            for found, scale in zip(maps, pool.scales, strict=True)
        ]
        found: Tensor = pooled[0]
        for number, other in enumerate(pooled[1:], 1):
            found = torch.where(level == number, other, found)
        return found

    def _proposals(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The most certain proposals, (r, 4), always as many; and which of them torchvision has too, (r,)."""
        rpn = self.detector.rpn
        objectness, deltas = rpn.head(list(features.values()))
        counts = [level.shape[1] * level.shape[2] * level.shape[3] for level in objectness]
        objectness, deltas = concat_box_prediction_layers(objectness, deltas)
        boxes = self._clipped(rpn.box_coder.decode_single(deltas, self.anchors))
        levels = zip(objectness.flatten().split(counts), boxes.split(counts), strict=True)
        found, scores = (torch.cat(parts) for parts in zip(*(self._level(*one) for one in levels), strict=True))
        scores, best = scores.topk(min(rpn.post_nms_top_n(), len(scores)))
        return found[best], scores > DROPPED

    def _level(self, objectness: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The most certain boxes of a level, with the score -1 where they are too small or suppressed."""
        rpn = self.detector.rpn
        objectness, best = objectness.topk(min(rpn.pre_nms_top_n(), len(objectness)))
        scores, boxes = objectness.sigmoid(), boxes[best]
        large = ((boxes[:, 2:] - boxes[:, :2]) >= rpn.min_size).all(-1)
        scores = torch.where(large & (scores >= rpn.score_thresh), scores, DROPPED)
        # What is dropped comes last there, so it suppresses nothing.
        padded = with_two_more(scores)
        kept = box_ops.nms(with_two_more(boxes), padded, rpn.nms_thresh)
        kept_scores = torch.full_like(padded, DROPPED).scatter(0, kept, padded[kept])
        return boxes, kept_scores[: len(scores)]


KINDS: dict[type[nn.Module], type[Candidates]] = {
    SSD: SoftmaxCandidates,
    RetinaNet: SigmoidCandidates,
    FCOS: SigmoidCandidates,
    FasterRCNN: TwoStageCandidates,
}


def candidates_of(detector: nn.Module, size: Sequence[int]) -> Candidates:
    """The graph of a detector for images of one size.

    Raises:
        ModelError: a detector of no known family.
    """
    height, width = size
    for kind, made in KINDS.items():
        if isinstance(detector, kind):
            return made(detector.eval(), (height, width)).eval()
    known = ", ".join(kind.__name__ for kind in KINDS)
    raise ModelError(f"a {type(detector).__name__} cannot be captured as a graph; these can: {known}.")


def decider(detector: Any) -> Any:
    """The part of a detector that has the thresholds of its detections."""
    return getattr(detector, "roi_heads", detector)


def with_two_more(rows: Tensor) -> Tensor:
    """Boxes (k, 4) with two more outside of every image, or scores (k,) with two more below all others.

    torchvision tells the tracer that a suppression keeps at least two boxes, which would make an image without any
    an error. These two it always keeps, as its last.
    """
    if rows.ndim == 1:
        return F.pad(rows, (0, 2), value=2 * DROPPED)
    outside = torch.arange(-8, 0, device=rows.device).view(2, 4)[:, [0, 0, 1, 1]]
    return torch.cat([rows, outside.to(rows.dtype)])


def _best(scores: Tensor, most: int) -> Tensor:
    """All but the best so many along the last dimension dropped."""
    if scores.shape[-1] <= most:
        return scores
    values, places = scores.topk(most)
    return torch.full_like(scores, DROPPED).scatter(-1, places, values)
