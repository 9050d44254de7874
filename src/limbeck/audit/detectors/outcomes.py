"""What became of every object under a detector, and which of its detections are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from limbeck.measures.detection.matching import NO_DETECTION, NO_OBJECT, Block, blocks, match
from limbeck.measures.detection.scenes import Bools, Ints, scenes

FOUND, CLASS, PLACE, BOTH, MISSED = range(5)
OUTCOMES = ("found", "class", "place", "both", "missed")
"""Of an object: found; only seen as another class; only badly placed; both; not seen at all."""
_FULL = 1 - 1e-10


@dataclass(frozen=True, eq=False)
class Outcomes:
    """A detector against the truth. Objects are those of all images in order, crowds not among them.

    Attributes:
        outcomes: shape (k,), int64, one of `OUTCOMES` for each object, by the detections above the threshold.
        said: shape (k,), int64: the class that the detector gives the object; C where it names none.
        scores: shape (k,), float64: best score of a detection of the object's class at its place, whatever the
            threshold; 0 without.
        boxes: shape (k, 4), float64: that detection's box; NaN without.
        kept: for each image the detections above the threshold, the best first.
        false: for each image which of them are false alarms: without an object and not inside a crowd, shape (d,).
        threshold: score from which a detection counts.
    """

    outcomes: Tensor
    said: Tensor
    scores: Tensor
    boxes: Tensor
    kept: Sequence[Mapping[str, Tensor]]
    false: Sequence[Tensor]
    threshold: float


def best(predictions: Sequence[Mapping[str, Tensor]], count: int) -> list[dict[str, Tensor]]:
    """The most certain detections of each image, in order."""
    found = []
    for one in predictions:
        order = one["scores"].argsort(descending=True, stable=True)[:count]
        found.append({key: value[order] for key, value in one.items()})
    return found


def threshold_for(predictions: Sequence[Mapping[str, Tensor]], objects: int) -> float:
    """The score that leaves as many detections as there are objects, in all images together.

    Example:
        >>> threshold_for([{"scores": torch.tensor([0.75, 0.25])}, {"scores": torch.tensor([0.5])}], 2)
        0.5
    """
    scores = torch.cat([one["scores"] for one in predictions])
    if len(scores) == 0 or objects == 0:
        return 1.0
    return float(scores.sort(descending=True).values[min(objects, len(scores)) - 1])


def outcomes_of(
    predictions: Sequence[Mapping[str, Tensor]],
    truth: Sequence[Mapping[str, Tensor]],
    *,
    classes: int,
    threshold: float,
    foreground_iou: float = 0.5,
    background_iou: float = 0.1,
    where: str = "outcomes_of",
) -> Outcomes:
    """Match detections and objects as COCO does, and say of each object that was not found what it was taken for.

    The kinds are those of TIDE [bolya2020tide], asked of objects instead of detections. Only detections without an
    object of their own count as attempts at another. The first that applies:

    * *found*: a detection of its class chose it, at `foreground_iou` or more.
    * *class*: a detection of another class overlaps it as much.
    * *place*: one of its class overlaps it by `background_iou` or more.
    * *both*: one of another class does.
    * *missed*: none does.

    Args:
        predictions: per image "boxes" (d, 4), "labels" (d,) from 0 and "scores" (d,), the best first.
        truth: per image "boxes" (k, 4), "labels" (k,) and "crowd" (k,).
        classes: number of them, without the background.
        threshold: score from which a detection counts.
        foreground_iou: overlap from which an object is found; 0.5 in the paper.
        background_iou: overlap from which a detection has anything to do with an object; 0.1 in the paper.
        where: named in errors.

    Raises:
        DataError: boxes, labels or scores that cannot be used.

    Example:
        >>> truth = [{"boxes": torch.tensor([[0.0, 0.0, 8.0, 8.0]]), "labels": torch.tensor([1])}]
        >>> found = [{**truth[0], "labels": torch.tensor([0]), "scores": torch.tensor([0.9])}]
        >>> outcome = outcomes_of(found, truth, classes=2, threshold=0.5)
        >>> OUTCOMES[outcome.outcomes[0]], int(outcome.said[0])
        ('class', 0)
    """
    kept = [_above(one, threshold) for one in predictions]
    wanted = max([1, *(len(one["scores"]) for one in predictions)])
    strict = blocks(scenes(where, kept, truth, classes), wanted)
    loose = blocks(scenes(where, predictions, truth, classes), wanted)
    judged = [_judged(block, foreground_iou, background_iou, classes) for block in strict]
    false = [
        torch.from_numpy(row[: len(one["scores"])])
        for row, one in zip((row for part in judged for row in part[2]), kept, strict=True)
    ]
    places = [row for block in loose for row in _standing(block, foreground_iou)]
    scores, boxes = zip(*(_read(one, row) for one, row in zip(predictions, places, strict=True)), strict=True)
    return Outcomes(
        outcomes=torch.from_numpy(np.concatenate([part[0] for part in judged])),
        said=torch.from_numpy(np.concatenate([part[1] for part in judged])),
        scores=torch.cat(scores),
        boxes=torch.cat(boxes),
        kept=kept,
        false=false,
        threshold=threshold,
    )


def _above(one: Mapping[str, Tensor], threshold: float) -> dict[str, Tensor]:
    chosen = one["scores"] >= threshold
    return {key: value[chosen] for key, value in one.items()}


def _judged(block: Block, foreground: float, background: float, classes: int) -> tuple[Ints, Ints, Bools]:
    """Outcome and named class of the objects, in order, and which detections are false alarms, shape (n, d)."""
    matches = match(block, foreground)
    enough = min(foreground, _FULL)
    said = block.labels != NO_DETECTION
    free = (said & (matches.matched < 0))[:, :, None]
    own, other = np.where(block.same & free, block.iou, 0), np.where(~block.same & free, block.iou, 0)
    best_own, best_other = own.max(axis=1), other.max(axis=1)
    outcomes = np.select(
        [matches.taken, best_other >= enough, best_own >= background, best_other >= background],
        [FOUND, CLASS, PLACE, BOTH],
        MISSED,
    )
    # Detections stand by falling score, so the first that overlaps enough is the most certain.
    rival = np.take_along_axis(block.labels, (other >= enough).argmax(axis=1), axis=1)
    named = np.select([outcomes == FOUND, outcomes == CLASS], [block.object_labels, rival], classes)
    real = block.object_labels != NO_OBJECT
    return outcomes[real], named[real], said & (matches.matched < 0) & ~matches.ignored


def _standing(block: Block, foreground: float) -> list[Ints]:
    """For each image, the best-scored detection of each object's class at its place, or -1."""
    right = block.same & (block.iou >= min(foreground, _FULL))
    place = np.where(right.any(axis=1), right.argmax(axis=1), -1)
    return [row[labels != NO_OBJECT] for row, labels in zip(place, block.object_labels, strict=True)]


def _read(one: Mapping[str, Tensor], row: Ints) -> tuple[Tensor, Tensor]:
    places = torch.from_numpy(row)
    there = places >= 0
    scores = torch.zeros(len(row), dtype=torch.float64)
    boxes = torch.full((len(row), 4), float("nan"), dtype=torch.float64)
    scores[there] = one["scores"][places[there]].double()
    boxes[there] = one["boxes"][places[there]].double()
    return scores, boxes
