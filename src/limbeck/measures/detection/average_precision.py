"""COCO's scores of detections, by faster-coco-eval."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from limbeck.bounds import PositiveInt
from limbeck.errors import ConfigError, MissingExtraError
from limbeck.measures.detection.scenes import Floats, Images, Scene, box_areas, scenes

CURVES = (0.5, 0.75)
"""IoUs whose precision is given along the recall."""


class CocoScores(NamedTuple):
    """The twelve numbers of COCO and what they consist of; fractions, not a number where there is nothing to find.

    Small, medium and large objects have areas up to 32², up to 96² and above, in pixels of the image given.
    """

    AP: float
    """Mean over ten IoUs, 0.50 to 0.95, and over the classes."""
    AP50: float
    AP75: float
    APs: float
    APm: float
    APl: float
    AR1: float
    """Recall with the single best-scored detection of each class in each image, mean over IoUs and classes."""
    AR10: float
    AR100: float
    ARs: float
    ARm: float
    ARl: float
    by_iou: dict[float, float]
    """0.5, 0.55 ... 0.95 -> AP at this IoU."""
    by_class: dict[str, float]
    """Name of a class -> its AP over the ten IoUs."""
    precision: dict[float, dict[str, tuple[float, ...]]]
    """IoU 0.5 and 0.75 -> class -> precision at the recalls 0, 0.01 ... 1; 0 at recalls that are not reached."""

    def numbers(self) -> dict[str, float]:
        """The twelve numbers by name."""
        return {name: value for name, value in self._asdict().items() if isinstance(value, float)}


def coco_scores(
    predictions: Images,
    truth: Images,
    *,
    classes: PositiveInt,
    class_names: Sequence[str] | None = None,
) -> CocoScores:
    """Average precision and recall as COCO defines them, with 100 detections of each class in each image.

    Args:
        predictions: per image, "boxes" (d, 4) x1, y1, x2, y2 in pixels, "labels" (d,) from 0 and "scores" (d,).
        truth: per image, "boxes" (k, 4), "labels" (k,) and, if known, "crowd" (k,), a region that detections may
            lie in without being right or wrong, and "areas" (k,), which decide what is small; the boxes' own
            otherwise.
        classes: number of classes, without background. A class without objects is left out of every mean.
        class_names: distinct, one a class; "0", "1" ... by default.

    Returns:
        Fractions, see `CocoScores`.

    Raises:
        ConfigError: no class, or names that are not distinct or too few.
        DataError: lists of different lengths, or an image's boxes, labels or scores cannot be used.
        MissingExtraError: faster-coco-eval is not installed.

    References:
        Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014 [lin2014microsoft], as its evaluation
        program defines them.
    """
    names = [str(label) for label in range(classes)] if class_names is None else list(class_names)
    if len(names) != classes or len(set(names)) != classes:
        raise ConfigError(f"coco_scores: {classes} classes need as many distinct names, not {names}.")
    images = scenes("coco_scores", predictions, truth, classes)
    judge = _evaluated(require_library(), images, classes)
    # Precision (ious, recalls, classes, areas, limits) and recall (ious, classes, areas, limits); areas are all,
    # small, medium, large and limits 1, 10, 100 detections; -1 where there is nothing to find.
    precision, recall = (np.where(judge.eval[key] < 0, np.nan, judge.eval[key]) for key in ("precision", "recall"))
    ious = [round(float(iou), 2) for iou in judge.params.iouThrs]
    by_iou = {iou: _mean(precision[row, :, :, 0, -1]) for row, iou in enumerate(ious)}
    return CocoScores(
        AP=_mean(precision[..., 0, -1]),
        AP50=by_iou[0.5],
        AP75=by_iou[0.75],
        APs=_mean(precision[..., 1, -1]),
        APm=_mean(precision[..., 2, -1]),
        APl=_mean(precision[..., 3, -1]),
        AR1=_mean(recall[..., 0, 0]),
        AR10=_mean(recall[..., 0, 1]),
        AR100=_mean(recall[..., 0, 2]),
        ARs=_mean(recall[..., 1, -1]),
        ARm=_mean(recall[..., 2, -1]),
        ARl=_mean(recall[..., 3, -1]),
        by_iou=by_iou,
        by_class={name: _mean(precision[:, :, c, 0, -1]) for c, name in enumerate(names)},
        precision={
            iou: {name: tuple(precision[ious.index(iou), :, c, 0, -1].tolist()) for c, name in enumerate(names)}
            for iou in CURVES
        },
    )


def require_library() -> Any:
    """Import faster-coco-eval; to be called before long work that ends with `coco_scores`.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module("faster_coco_eval")
    except ImportError as error:
        raise MissingExtraError.of("faster-coco-eval", "detect", "coco_scores") from error


def _evaluated(library: Any, images: Sequence[Scene], classes: int) -> Any:
    """The library's evaluation, done; it talks unless told not to."""
    truth = library.COCO(_dataset(images, classes), print_function=_silent)
    judge = library.COCOeval_faster(truth, truth.loadRes(_results(images)), "bbox", print_function=_silent)
    judge.evaluate()
    judge.accumulate()
    return judge


def _silent(*words: object) -> None:
    """Print nothing."""


def _dataset(images: Sequence[Scene], classes: int) -> dict[str, Any]:
    objects = [
        {"image_id": place, "category_id": int(label), "bbox": box, "area": float(area), "iscrowd": int(crowd)}
        for place, image in enumerate(images)
        for box, label, area, crowd in zip(
            _corner_and_size(image.objects), image.labels, image.areas, image.crowd, strict=True
        )
    ]
    # From 1: the library takes 0 for "no object".
    for number, one in enumerate(objects, start=1):
        one["id"] = number
    return {
        "info": {},
        "images": [{"id": place} for place in range(len(images))],
        "annotations": objects,
        "categories": [{"id": label, "name": str(label)} for label in range(classes)],
    }


def _results(images: Sequence[Scene]) -> list[dict[str, Any]]:
    return [
        {"image_id": place, "category_id": int(label), "bbox": box, "score": float(score), "area": float(area)}
        for place, image in enumerate(images)
        for box, label, score, area in zip(
            _corner_and_size(image.found), image.found_labels, image.scores, box_areas(image.found), strict=True
        )
    ]


def _corner_and_size(boxes: Floats) -> list[list[float]]:
    """Boxes as x, y, width, height."""
    listed: list[list[float]] = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()
    return listed


def _mean(values: Floats) -> float:
    """Mean of what is a number; not a number if nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
