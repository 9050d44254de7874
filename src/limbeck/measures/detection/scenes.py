"""Ground truth and predictions as they are given, checked and turned into arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from limbeck.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Images = Sequence[Mapping[str, Any]]
"""One mapping an image."""


@dataclass(frozen=True)
class Scene:
    """One image: its `objects` are the ground truth, `found` is what a detector said. Boxes are x1, y1, x2, y2."""

    objects: Floats
    """Shape (k, 4)."""
    labels: Ints
    crowd: Bools
    areas: Floats
    found: Floats
    """Shape (d, 4)."""
    found_labels: Ints
    scores: Floats


def scenes(where: str, predictions: Images, truth: Images, classes: int) -> list[Scene]:
    """Check both lists and pair them, image by image.

    Args:
        where: named in errors.
        predictions: "boxes" (d, 4), "labels" (d,), "scores" (d,).
        truth: "boxes" (k, 4), "labels" (k,), and where they are known "crowd" (k,), otherwise nothing is a crowd,
            and "areas" (k,), otherwise those of the boxes.
        classes: labels are below it.

    Raises:
        ConfigError: no class.
        DataError: no image, lists of different lengths, or an image whose boxes cannot be used, named by its place
            in the list.
    """
    if classes < 1:
        raise ConfigError(f"{where}: classes is {classes}, but at least 1 is needed.")
    if len(predictions) != len(truth):
        raise DataError(
            f"{where}: predictions of {len(predictions)} images and ground truth of {len(truth)}; "
            "each image needs an entry in both, empty where there is no box."
        )
    if not truth:
        raise DataError(f"{where}: there is no image.")
    return [
        _scene(where, place, *pair, classes) for place, pair in enumerate(zip(predictions, truth, strict=True))
    ]


def _scene(where: str, place: int, found: Mapping[str, Any], true: Mapping[str, Any], classes: int) -> Scene:
    here = f"{where}: image {place}, ground truth"
    boxes = _boxes(here, true)
    labels = _labels(here, true, len(boxes), classes)
    crowd = _numbers(here, true, "crowd", (len(boxes),)) if "crowd" in true else np.zeros(len(boxes))
    areas = _numbers(here, true, "areas", (len(boxes),)) if "areas" in true else box_areas(boxes)
    here = f"{where}: image {place}, predictions"
    found_boxes = _boxes(here, found)
    found_labels = _labels(here, found, len(found_boxes), classes)
    scores = _numbers(here, found, "scores", (len(found_boxes),))
    return Scene(boxes, labels, crowd.astype(bool), areas, found_boxes, found_labels, scores)


def _boxes(here: str, entry: Mapping[str, Any]) -> Floats:
    boxes = _numbers(here, entry, "boxes", (None, 4))
    turned = (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    if turned.any():
        first = int(turned.argmax())
        raise DataError(
            f"{here}: box {first} is {boxes[first].tolist()}, which ends before it begins; "
            "boxes are x1, y1, x2, y2, not x, y, width, height."
        )
    return boxes


def _labels(here: str, entry: Mapping[str, Any], count: int, classes: int) -> Ints:
    numbers = _numbers(here, entry, "labels", (count,))
    wrong = (numbers < 0) | (numbers >= classes) | (numbers % 1 != 0)
    if wrong.any():
        raise DataError(
            f"{here}: label {numbers[wrong][0]:g}, but the labels of {classes} classes are 0 to {classes - 1} "
            "(without background)."
        )
    return numbers.astype(np.int64)


def _numbers(here: str, entry: Mapping[str, Any], key: str, shape: tuple[int | None, ...]) -> Floats:
    if key not in entry:
        raise DataError(f"{here}: '{key}' is missing; it has {', '.join(sorted(entry)) or 'nothing'}.")
    numbers: Floats = torch.as_tensor(entry[key]).detach().double().cpu().numpy()
    if not numbers.size and shape[0] in (None, 0):
        return np.zeros([length or 0 for length in shape])
    fits = numbers.ndim == len(shape) and all(
        want in (None, have) for want, have in zip(shape, numbers.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise DataError(f"{here}: '{key}' has shape {numbers.shape}, not ({wanted}{',' * (len(shape) == 1)}).")
    if not np.isfinite(numbers).all():
        raise DataError(f"{here}: '{key}' has a value that is not finite.")
    return numbers


def box_areas(boxes: Floats) -> Floats:
    """Areas in square pixels, of boxes (..., 4)."""
    areas: Floats = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return areas
