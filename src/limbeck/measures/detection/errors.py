"""What a detector does wrong, and how much average precision each kind of error costs: TIDE."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from limbeck.bounds import PositiveInt
from limbeck.errors import ConfigError
from limbeck.measures.detection.interpolation import average_precisions
from limbeck.measures.detection.matching import NO_DETECTION, NO_OBJECT, Block, Matches, blocks, match
from limbeck.measures.detection.scenes import Bools, Floats, Images, Ints, scenes
from limbeck.numerics.checks import require_above

RIGHT, CLS, LOC, BOTH, DUPE, BKG = range(6)
MAIN = {"Cls": CLS, "Loc": LOC, "Both": BOTH, "Dupe": DUPE, "Bkg": BKG}
COCO_IOUS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


class Errors(NamedTuple):
    """A detector's errors at one IoU. Fractions, but for the counts; the published tool prints points, 100 times.

    The categories, in this order: "Cls", "Loc", "Both", "Dupe", "Bkg", "Miss", and over all of them "FalsePos" and
    "FalseNeg". The gains do not add up to what is missing to 1: repairing two kinds gives more, or less, than the
    two gains.
    """

    AP: float
    """Average precision at `foreground_iou`, the mean over the classes that have objects; not a number without."""
    dAP: dict[str, float]
    """Category -> what the average precision would gain if this kind alone were repaired; at least 0."""
    counts: dict[str, int]
    """Category -> how many: false positives of each kind, objects missed; all false positives, all objects without
    a detection."""
    foreground_iou: float
    background_iou: float


class ErrorChange(NamedTuple):
    """A row of `compare_errors`."""

    category: str
    before: float
    after: float
    change: float
    """After minus before: below 0, the error costs less than it did."""


def tide_errors(
    predictions: Images,
    truth: Images,
    *,
    classes: PositiveInt,
    foreground_iou: float = 0.5,
    background_iou: float = 0.1,
    max_detections: PositiveInt = 100,
) -> Errors:
    r"""TIDE: every false positive gets a kind, and each kind its price in average precision.

    With :math:`t_f` the foreground's IoU and :math:`t_b` the background's, a detection without an object is, the
    first that applies:

    * *Loc*: its best IoU with an object of its class is from :math:`t_b` to :math:`t_f`.
    * *Cls*: its best IoU with an object of another class is :math:`t_f` or more.
    * *Dupe*: it overlaps an object of its class by :math:`t_f` or more, which a better detection has found.
    * *Bkg*: no object of any class overlaps it by more than :math:`t_b`.
    * *Both*: everything else, so an object of another class, badly placed.

    *Miss* is an object that no detection found and none of Cls and Loc would find when repaired. To repair Cls or
    Loc is to give the detection the object's class or box, which makes it right if the object is free and this is
    the best-scored detection that claims it, by either error, and otherwise takes it away. Both, Dupe and Bkg are
    taken away, a Miss is not asked for. *FalsePos* is the gain if all false positives came last, *FalseNeg* if no
    object without a detection had been asked for.

    Average precision is COCO's at one IoU, to the detection. Detections without an object inside a crowd of their
    class count for nothing, but may claim an object.

    Args:
        predictions: per image, "boxes" (d, 4) x1, y1, x2, y2 in pixels, "labels" (d,) from 0 and "scores" (d,).
        truth: per image, "boxes" (k, 4), "labels" (k,) and, if any, "crowd" (k,).
        classes: number of classes, without background.
        foreground_iou: IoU from which an object is found; 0.5 in the paper.
        background_iou: IoU up to which a box is background; 0.1 in the paper.
        max_detections: the best-scored of an image that count, of all classes together; COCO's scores count 100 of
            each class.

    Returns:
        Fractions and counts, see `Errors`.

    Raises:
        ConfigError: IoUs not ordered 0 < background < foreground <= 1, no class or no detection.
        DataError: lists of different lengths, or an image's boxes, labels or scores cannot be used.

    Example:
        >>> truth = [{"boxes": [[0, 0, 10, 10]], "labels": [0]}]
        >>> found = [{"boxes": [[0, 0, 10, 4]], "labels": [0], "scores": [0.9]}]
        >>> tide_errors(found, truth, classes=1).dAP["Loc"]
        1.0

    References:
        Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors, ECCV 2020, section 2
        [bolya2020tide], and its released program, version 1.0.1, which decides where the paper is silent (order
        of the kinds, claims). It differs in: classes that have detections and no objects, which it counts with 0
        and COCO, as is done here, leaves out of the mean; counts, where it includes detections inside crowds; and
        ties, where precision, matching and crowds follow COCO here (the program's grid of recalls is off by
        rounding, of equal overlaps it takes the earlier object).
    """
    return errors_by_iou(
        predictions,
        truth,
        classes=classes,
        foreground_ious=(foreground_iou,),
        background_iou=background_iou,
        max_detections=max_detections,
    )[foreground_iou]


def errors_by_iou(
    predictions: Images,
    truth: Images,
    *,
    classes: PositiveInt,
    foreground_ious: Sequence[float] = COCO_IOUS,
    background_iou: float = 0.1,
    max_detections: PositiveInt = 100,
) -> dict[float, Errors]:
    """The errors at several IoUs: the stricter the overlap that is asked for, the more of them are of place.

    Args:
        predictions: as for `tide_errors`.
        truth: as for `tide_errors`.
        classes: number of classes, without background.
        foreground_ious: IoUs from which an object is found; COCO's ten.
        background_iou: IoU up to which a box is background, the same for all.
        max_detections: the best-scored of an image that count.

    Returns:
        Foreground IoU -> `Errors`, in the given order.

    Raises:
        ConfigError: IoUs not ordered 0 < background < foreground <= 1, no class or no detection.
        DataError: as for `tide_errors`.
    """
    require_above("tide_errors", 0, max_detections=max_detections)
    for foreground in foreground_ious:
        if not 0 < background_iou < foreground <= 1:
            raise ConfigError(
                f"tide_errors: background_iou is {background_iou} and foreground_iou {foreground}, "
                "but 0 < background_iou < foreground_iou <= 1 is needed."
            )
    parts = blocks(scenes("tide_errors", predictions, truth, classes), max_detections)
    return {
        foreground: _priced(_judged(parts, foreground, background_iou), classes, foreground, background_iou)
        for foreground in foreground_ious
    }


def compare_errors(before: Errors, after: Errors) -> list[ErrorChange]:
    """What each error cost before and costs after, say without and with a teacher.

    Args:
        before: errors of one detector.
        after: errors of another, at the same IoUs and on the same images.

    Returns:
        A row for each category, in the order of `Errors`.

    Raises:
        ConfigError: the IoUs differ.
    """
    if before[-2:] != after[-2:]:
        raise ConfigError(
            f"compare_errors: errors at a foreground and background IoU of {before[-2:]} and of {after[-2:]} "
            "do not compare."
        )
    return [ErrorChange(name, cost, after.dAP[name], after.dAP[name] - cost) for name, cost in before.dAP.items()]


@dataclass(frozen=True)
class _Judged:
    """All detections, (d,) each, and all objects, (k,) each."""

    scores: Floats
    labels: Ints
    kinds: Ints
    ignored: Bools
    claims: Bools
    """Whether the detection is right once its Cls or Loc is repaired."""
    repaired_labels: Ints
    """Class of the object that a Cls belongs to; otherwise the detection's own."""
    object_labels: Ints
    found: Bools
    missed: Bools


def _judged(parts: Sequence[Block], foreground: float, background: float) -> _Judged:
    pieces = [_judged_block(part, match(part, foreground), foreground, background) for part in parts]
    return _Judged(*(np.concatenate(column) for column in zip(*pieces, strict=True)))


def _judged_block(block: Block, matches: Matches, foreground: float, background: float) -> tuple[np.ndarray, ...]:
    """Columns of `_Judged`."""
    kinds, partner = _kinds(block, matches, foreground, background)
    rows = np.arange(len(kinds))[:, None]
    claims = ((kinds == CLS) | (kinds == LOC)) & ~matches.taken[rows, partner]
    # Row by row and by falling score, so the first claim on an object is that of the best detection.
    place, first = np.unique((rows * block.iou.shape[2] + partner)[claims], return_index=True)
    best = np.zeros_like(claims)
    best.flat[np.flatnonzero(claims)[first]] = True
    missed = ~matches.taken
    missed.flat[place] = False
    repaired = np.where(kinds == CLS, block.object_labels[rows, partner], block.labels)
    said, real = block.labels != NO_DETECTION, block.object_labels != NO_OBJECT
    return (
        *(column[said] for column in (block.scores, block.labels, kinds, matches.ignored, best, repaired)),
        *(column[real] for column in (block.object_labels, matches.taken, missed)),
    )


def _kinds(block: Block, matches: Matches, foreground: float, background: float) -> tuple[Ints, Ints]:
    """Kind of each detection and, for Cls and Loc, the object that it belongs to, shapes (n, d)."""
    own, other = np.where(block.same, block.iou, 0), np.where(block.same, 0, block.iou)
    best_own, best_other = own.max(axis=2), other.max(axis=2)
    found = (own * matches.taken[:, None]).max(axis=2)
    kinds = np.select(
        [
            matches.matched >= 0,
            (best_own >= background) & (best_own <= foreground),
            best_other >= foreground,
            found >= foreground,
            np.maximum(best_own, best_other) <= background,
        ],
        [RIGHT, LOC, CLS, DUPE, BKG],
        BOTH,
    )
    return kinds, np.where(kinds == CLS, other.argmax(axis=2), own.argmax(axis=2))


def _priced(judged: _Judged, classes: int, foreground: float, background: float) -> Errors:
    objects = np.bincount(judged.object_labels, minlength=classes)
    lost = np.bincount(judged.object_labels[judged.missed], minlength=classes)
    unfound = np.bincount(judged.object_labels[~judged.found], minlength=classes)
    kinds, right, counted = judged.kinds, judged.kinds == RIGHT, ~judged.ignored

    def mean(scores: Floats, labels: Ints, right: Bools, keep: Bools, asked: Ints) -> float:
        each = average_precisions(scores[keep], labels[keep], right[keep], asked)[objects > 0]
        each = each[~np.isnan(each)]
        # Nothing to find and nothing found, in every class: a repair that leaves no error at all.
        return float(each.mean()) if len(each) else 1.0

    def repaired(kind: int) -> float:
        fixed = (kinds == kind) & judged.claims
        labels = judged.repaired_labels if kind == CLS else judged.labels
        return mean(judged.scores, labels, right | fixed, (counted & (kinds != kind)) | fixed, objects)

    AP = mean(judged.scores, judged.labels, right, counted, objects) if objects.any() else math.nan
    repairs = {name: repaired(kind) for name, kind in MAIN.items()}
    repairs["Miss"] = mean(judged.scores, judged.labels, right, counted, objects - lost)
    repairs["FalsePos"] = mean(right.astype(np.float64), judged.labels, right, counted, objects)
    repairs["FalseNeg"] = mean(judged.scores, judged.labels, right, counted, objects - unfound)
    counts = {name: int((counted & (kinds == kind)).sum()) for name, kind in MAIN.items()}
    counts |= {"Miss": int(lost.sum()), "FalsePos": int((counted & ~right).sum()), "FalseNeg": int(unfound.sum())}
    # A gain below 0 can only be rounding; the comparison is so that not a number stays what it is.
    gains: Mapping[str, float] = {name: 0.0 if fixed < AP else fixed - AP for name, fixed in repairs.items()}
    return Errors(AP, dict(gains), counts, foreground, background)
