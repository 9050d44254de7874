"""Average precision of detections that are known to be right or wrong, interpolated as COCO does it."""

from __future__ import annotations

import numpy as np

from limbeck.measures.detection.scenes import Bools, Floats, Ints

RECALLS = np.linspace(0, 1, 101)
"""Where precision is read: recalls 0, 0.01 ... 1."""


def average_precisions(scores: Floats, labels: Ints, right: Bools, objects: Ints) -> Floats:
    """Average precision of each class.

    Args:
        scores: shape (d,), of all detections of all images; of equal scores, the earlier comes first.
        labels: shape (d,).
        right: shape (d,), whether each found an object.
        objects: shape (classes,), how many there were to find.

    Returns:
        Fractions, shape (classes,): 0 for a class with detections and nothing to find, and not a number for a
        class with neither.
    """
    order = np.lexsort((-scores, labels))
    borders = np.searchsorted(labels[order], np.arange(len(objects) + 1))
    hits = right[order]
    return np.array(
        [_of_class(hits[borders[c] : borders[c + 1]], int(total)) for c, total in enumerate(objects)],
        dtype=np.float64,
    )


def _of_class(hits: Bools, objects: int) -> float:
    """One class's average precision; `hits` by falling score."""
    if not objects:
        return 0.0 if len(hits) else float("nan")
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    # The best precision at this recall or a higher one; 0 at recalls that are never reached.
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
    return float(envelope[np.searchsorted(found / objects, RECALLS)].mean())
