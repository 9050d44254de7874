"""Which detection found which object, by COCO's rule, for many images at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.measures.detection.scenes import Bools, Floats, Ints, Scene, box_areas

IMAGES = 64
"""Images that are compared at once: many, for speed, but not all, since they are padded to the fullest of them."""
NO_DETECTION = -1
NO_OBJECT = -2
"""Labels of padding; unequal, so that padding never has the class of padding."""


@dataclass(frozen=True)
class Block:
    """Some images, padded to d detections, the best first, and g objects, crowds not among them."""

    scores: Floats
    """Shape (n, d)."""
    labels: Ints
    """Shape (n, d); `NO_DETECTION` is padding."""
    object_labels: Ints
    """Shape (n, g); `NO_OBJECT` is padding."""
    iou: Floats
    """Shape (n, d, g), 0 at padding."""
    crowd: Floats
    """Shape (n, d): the largest part of a detection that lies inside one crowd of its class."""

    @property
    def same(self) -> Bools:
        """Whether detection and object have the same class, shape (n, d, g)."""
        same: Bools = self.labels[:, :, None] == self.object_labels[:, None, :]
        return same


@dataclass(frozen=True)
class Matches:
    """Of a `Block`, at one IoU."""

    matched: Ints
    """Shape (n, d): the object that a detection found, or -1."""
    ignored: Bools
    """Shape (n, d): detections without an object, inside a crowd of their class: neither right nor wrong."""
    taken: Bools
    """Shape (n, g): objects that were found."""


def blocks(images: Sequence[Scene], max_detections: int) -> list[Block]:
    """Lay images side by side; of each image the `max_detections` of highest score, whatever their class."""
    starts = range(0, len(images), IMAGES)
    return [_block(images[start : start + IMAGES], max_detections) for start in starts]


def match(block: Block, foreground: float) -> Matches:
    """Let detections choose, the best first, the free object of their class that they overlap most.

    As COCO has it, an overlap of exactly `foreground` is enough, and of equal overlaps the later object is chosen.
    """
    enough = min(foreground, 1 - 1e-10)
    overlap = np.where(block.same, block.iou, 0)
    n, d, g = overlap.shape
    matched = np.full((n, d), -1, dtype=np.int64)
    taken = np.zeros((n, g), dtype=bool)
    for rank in range(d):
        free = np.where(taken, 0, overlap[:, rank])
        choice = g - 1 - free[:, ::-1].argmax(axis=1)
        rows = np.flatnonzero(free.max(axis=1) >= enough)
        matched[rows, rank] = choice[rows]
        taken[rows, choice[rows]] = True
    return Matches(matched, (matched < 0) & (block.crowd >= enough), taken)


def _block(images: Sequence[Scene], max_detections: int) -> Block:
    best = [np.argsort(-image.scores, kind="stable")[:max_detections] for image in images]
    solid = [np.flatnonzero(~image.crowd) for image in images]
    # At least one place each, so that a maximum over an axis exists.
    n, d, g = len(images), max([1, *map(len, best)]), max([1, *map(len, solid)])
    scores, labels = np.zeros((n, d)), np.full((n, d), NO_DETECTION, dtype=np.int64)
    found, objects = np.zeros((n, d, 4)), np.zeros((n, g, 4))
    object_labels = np.full((n, g), NO_OBJECT, dtype=np.int64)
    crowd = np.zeros((n, d))
    for row, (image, chosen, real) in enumerate(zip(images, best, solid, strict=True)):
        scores[row, : len(chosen)] = image.scores[chosen]
        labels[row, : len(chosen)] = image.found_labels[chosen]
        found[row, : len(chosen)] = image.found[chosen]
        objects[row, : len(real)] = image.objects[real]
        object_labels[row, : len(real)] = image.labels[real]
        if image.crowd.any():
            crowd[row, : len(chosen)] = _inside_crowds(image, chosen)
    inside = _intersections(found, objects)
    union = box_areas(found)[:, :, None] + box_areas(objects)[:, None, :] - inside
    return Block(scores, labels, object_labels, _ratio(inside, union), crowd)


def _inside_crowds(image: Scene, chosen: Ints) -> Floats:
    found, crowds = image.found[chosen], image.objects[image.crowd]
    part = _ratio(_intersections(found, crowds), box_areas(found)[:, None])
    same = image.found_labels[chosen][:, None] == image.labels[image.crowd]
    most: Floats = np.where(same, part, 0).max(axis=1)
    return most


def _intersections(left: Floats, right: Floats) -> Floats:
    """Areas shared by boxes (..., a, 4) and (..., b, 4), shape (..., a, b)."""
    begin = np.maximum(left[..., :, None, :2], right[..., None, :, :2])
    end = np.minimum(left[..., :, None, 2:], right[..., None, :, 2:])
    areas: Floats = (end - begin).clip(min=0).prod(axis=-1)
    return areas


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Part of the whole; 0 where both boxes are without area."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
