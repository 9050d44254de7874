"""What can be seen of a detector in one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Head = Literal["softmax", "sigmoid"]


@dataclass(frozen=True)
class Positives:
    """The predictions that the detector's own assigner has matched to an object, those of all images in a row.

    Attributes:
        image: image of each in the batch, int64 (K,).
        object: the matched object's place in its image's target, int64 (K,).
        logits: class scores with their graph; (K, C+1), background first, of softmax heads; (K, C) of sigmoid
            heads.
        boxes: predicted boxes with their graph, float32 (K, 4) x1, y1, x2, y2 in pixels of the network's input,
            neither clipped nor checked.
    """

    image: Tensor
    object: Tensor
    logits: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class Dense:
    """What a one-stage head says at each of its A anchors.

    Attributes:
        class_logits: (n, A, C+1), background first, of softmax heads; (n, A, C) of sigmoid heads.
        box_deltas: boxes relative to the anchors, (n, A, 4), as the head gives them.
        side_logits: of a head that predicts a distribution for each side, (n, A, 4, bins + 1).
        matched: the object of each anchor in its image, below zero where it has none, int64 (n, A); only in
            training.
        class_towers: outputs of the class tower's convolutions, `[level][convolution]`; empty where there is no
            tower or it was not watched.
        box_towers: the same of the box tower.
        decode: from deltas (n, A, 4) to boxes.
    """

    class_logits: Tensor
    box_deltas: Tensor
    side_logits: Tensor | None
    matched: Tensor | None
    class_towers: Sequence[Sequence[Tensor]]
    box_towers: Sequence[Sequence[Tensor]]
    decode: Callable[[Tensor], Tensor]

    def boxes(self) -> Tensor:
        """All boxes, decoded with their graph: float32 (n, A, 4) in pixels of the network's input."""
        return self.decode(self.box_deltas)


@dataclass(frozen=True)
class Proposals:
    """What the second stage made of its sampled proposals, those of all images in a row.

    Attributes:
        boxes: of each image, (r, 4) in pixels of the network's input.
        labels: column of the logits that is right for each, int64 (R,); 0 for the background.
        logits: (R, C+1), background first, with their graph.
        pooled: features under each proposal, (R, c, s, s), with their graph.
    """

    boxes: Sequence[Tensor]
    labels: Tensor
    logits: Tensor
    pooled: Tensor


@dataclass(frozen=True)
class Seen:
    """One forward pass of a detector.

    Attributes:
        images: the network's input, (n, 3, H, W): normalised, resized, padded with zeros.
        sizes: height and width of each image inside of it.
        mean: that was subtracted from channels in [0, 1].
        std: that divided them afterwards.
        targets: objects of each image: `boxes` in pixels of the network's input, `labels` 0..C-1, and whatever
            came along with them; empty where there were none to learn from.
        features: what the heads are given, by level, (n, c, h, w), the finest first.
        head: how class scores are meant.
        anchors: of each image, (A, 4) in pixels of the network's input, level after level, the cells of a level
            row by row; those of the first stage of a two-stage detector. None where it was not asked for.
        anchors_per_cell: of each level.
        positives: matched predictions; only in training.
        dense: the head's outputs; None for two-stage detectors.
        proposals: the second stage's; only of two-stage detectors in training.
    """

    images: Tensor
    sizes: Sequence[tuple[int, int]]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    targets: Sequence[Mapping[str, Tensor]]
    features: Mapping[str, Tensor]
    head: Head
    anchors: Sequence[Tensor] | None
    anchors_per_cell: Sequence[int]
    positives: Positives | None
    dense: Dense | None
    proposals: Proposals | None

    @property
    def strides(self) -> list[tuple[int, int]]:
        """Input pixels to a cell of each level, down and across, as torchvision counts them: rounded down."""
        height, width = self.images.shape[-2:]
        return [(height // level.shape[-2], width // level.shape[-1]) for level in self.features.values()]
