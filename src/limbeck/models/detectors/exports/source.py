"""The detector that is taken out, and the comparison that every copy of it has to pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.errors import ModelError, ShapeError
from limbeck.models.artefact import find, read_card
from limbeck.models.data_config import DataConfig
from limbeck.models.detectors.artefact import load
from limbeck.models.detectors.exports.candidates import decider
from limbeck.models.detectors.families import family_of
from limbeck.models.detectors.predicting import predict
from limbeck.models.exports.exported import Comparison, first_line

Found = Mapping[str, Tensor]
Copy = Callable[[Tensor, float | None], Found]
"""An image (3, h, w), and a score threshold instead of the detector's own, to what a copy finds."""

_WANTED = 20
"""Objects to compare, where the detector finds none above its own threshold."""
_CLOSE = 1e-4
"""To a threshold: what is decided by less is not compared."""


@dataclass(frozen=True)
class DetectorSource:
    """A trained detector and the images that copies of it are compared on.

    Attributes:
        file: it was read from.
        detector: in eval mode, on the CPU.
        spec: name and settings that rebuild it.
        notes: what its file says besides.
        data: what it expects of its input.
        size: height and width of the images.
        images: examples in [0, 1], (3, h, w) each, float32.
    """

    file: Path
    detector: nn.Module
    spec: Mapping[str, Any]
    notes: Mapping[str, Any]
    data: DataConfig
    size: tuple[int, int]
    images: tuple[Tensor, ...]

    @property
    def name(self) -> str:
        """Of the architecture."""
        return str(self.spec["name"])

    @property
    def family(self) -> str:
        """SSD, RetinaNet, FCOS or Faster R-CNN."""
        return family_of(self.detector).name

    @property
    def classes(self) -> int:
        """Of objects."""
        return int(self.spec["num_classes"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels; empty where they are not known."""
        return self.data.class_names

    @property
    def settings(self) -> dict[str, Any]:
        """Of the architecture, without name and classes."""
        return {key: value for key, value in self.spec.items() if key not in ("name", "num_classes")}


def open_detector(
    path: str | Path, *, size: Sequence[int] | None = None, images: Sequence[Tensor] | None = None
) -> DetectorSource:
    """Read the detector to be taken out.

    Args:
        path: a detector's file, or the folder of a stage or of a run that holds exactly one.
        size: height and width of images; those that the detector works at unless given.
        images: examples of that size to compare on, in [0, 1]; two photographs that scikit-learn brings, noise, a
            smooth and a plain image unless given.

    Raises:
        CheckpointError: there is no model, it is damaged, or it is no detector.
        ShapeError: no size, or examples of another one.
    """
    file = find(Path(path))
    detector = load(file).requires_grad_(False)
    data = detector.limbeck_data
    assert isinstance(data, DataConfig)
    chosen = _checked_size(data.input_shape[1:] if size is None else size)
    examples = _drawn(chosen) if images is None else _checked(images, chosen)
    card = read_card(file)
    return DetectorSource(file, detector, card["spec"], card["notes"], data, chosen, examples)


def compare_boxes(source: DetectorSource, call: Copy, *, reader: str, tolerance: float) -> Comparison:
    """Let a copy look at the example images, and compare what it finds with what the detector finds.

    Objects are compared by label, place and score, whatever their order. An image in which the detector itself
    finds something else once its thresholds move by 0.0001 is left out: there, rounding decides. If it finds
    nothing in any of them, a lower score threshold is compared as well.

    Args:
        source: the detector.
        call: the copy.
        reader: what read it.
        tolerance: of a score, and of a coordinate in parts of the image's longer side.

    Raises:
        ModelError: the copy cannot be run or finds something else; or rounding decides everywhere.
    """
    compared = _compared(source, call, None, reader=reader, tolerance=tolerance)
    if compared.objects == 0:
        lower = _lower_threshold(source)
        if lower is not None:
            compared = _compared(source, call, lower, reader=reader, tolerance=tolerance)
    threshold = "" if compared.threshold is None else f" above a score of {compared.threshold:.3g}"
    of = f"the {compared.objects} objects{threshold} in {{}} images"
    return Comparison(reader, compared.images, compared.difference, tolerance, of)


@dataclass(frozen=True)
class _Compared:
    images: int
    objects: int
    difference: float
    threshold: float | None


def _compared(
    source: DetectorSource, call: Copy, threshold: float | None, *, reader: str, tolerance: float
) -> _Compared:
    worst, objects, images = 0.0, 0, 0
    for image in source.images:
        with _thresholds(source.detector, score=threshold):
            (wanted,) = predict(source.detector, [image])
            try:
                found = call(image, threshold)
            except Exception as error:  # whatever a foreign program raises
                raise ModelError(
                    f"the export was refused: {reader} cannot run it ({first_line(error)})."
                ) from error
            difference = difference_of(wanted, found)
            if not difference <= tolerance:
                if _undecided(source.detector, image, wanted, tolerance):
                    continue
                raise ModelError(_refusal(wanted, found, difference, reader=reader, tolerance=tolerance))
        worst, objects, images = max(worst, difference), objects + len(wanted["scores"]), images + 1
    if not images:
        raise ModelError(
            f"the export cannot be checked: in each of the {len(source.images)} images, rounding decides what "
            f"{source.name} finds, as in a detector that was not trained. Give it other images: images=[...]."
        )
    return _Compared(images, objects, worst, threshold)


def difference_of(wanted: Found, found: Found) -> float:
    """The largest difference between the objects of two lists, paired as well as possible.

    Args:
        wanted: boxes, labels, scores.
        found: the same of a copy.

    Returns:
        Of scores, and of coordinates divided by the largest one; infinity for other numbers of objects or labels.

    Example:
        >>> one = {"boxes": torch.ones(1, 4), "labels": torch.zeros(1), "scores": torch.tensor([0.5])}
        >>> difference_of(one, {**one, "scores": torch.tensor([0.75])})
        0.25
        >>> difference_of(one, {**one, "labels": torch.ones(1)})
        inf
    """
    if len(wanted["scores"]) != len(found["scores"]):
        return float("inf")
    if not len(wanted["scores"]):
        return 0.0
    side = max(1.0, float(wanted["boxes"].abs().max()))
    apart = (wanted["boxes"][:, None] - found["boxes"][None]).abs().amax(-1) / side
    apart = torch.maximum(apart, (wanted["scores"][:, None] - found["scores"][None]).abs())
    apart = apart.double().masked_fill(wanted["labels"][:, None] != found["labels"][None], 1e9)
    costs = np.nan_to_num(apart.numpy(), nan=1e9, posinf=1e9)
    worst = float(costs[linear_sum_assignment(costs)].max())
    return worst if worst < 1e9 else float("inf")


def _refusal(wanted: Found, found: Found, difference: float, *, reader: str, tolerance: float) -> str:
    counts = len(wanted["scores"]), len(found["scores"])
    start = f"the export was checked and refused: read by {reader}, it finds "
    if counts[0] != counts[1]:
        return f"{start}{counts[1]} objects where the detector finds {counts[0]}."
    if difference == float("inf"):
        return f"{start}objects of other classes than the detector."
    return f"{start}objects that differ by up to {difference:.3g}; {tolerance:.3g} is allowed."


def _undecided(detector: Any, image: Tensor, wanted: Found, tolerance: float) -> bool:
    """Whether thresholds that differ by next to nothing give other objects."""
    part: Any = decider(detector)
    score, overlap, most = part.score_thresh, part.nms_thresh, part.detections_per_img
    moved: list[dict[str, Any]] = [
        {"score": score - tolerance},
        {"score": score + tolerance},
        {"overlap": overlap - _CLOSE},
        {"overlap": overlap + _CLOSE},
    ]
    if hasattr(detector, "rpn"):
        first = detector.rpn.nms_thresh
        moved += [{"first_overlap": first - _CLOSE}, {"first_overlap": first + _CLOSE}]
    if hasattr(part, "topk_candidates"):
        moved += [{"candidates": part.topk_candidates - 1}, {"candidates": part.topk_candidates + 1}]
    for change in moved:
        with _thresholds(detector, **change):
            (found,) = predict(detector, [image])
        if not difference_of(wanted, found) <= tolerance:
            return True
    with _thresholds(detector, most=most + 1):
        scores = predict(detector, [image])[0]["scores"]
    return len(scores) > most and float(scores[-2] - scores[-1]) <= tolerance


@contextlib.contextmanager
def _thresholds(
    detector: Any,
    *,
    score: float | None = None,
    overlap: float | None = None,
    first_overlap: float | None = None,
    candidates: int | None = None,
    most: int | None = None,
) -> Iterator[None]:
    """A detector with other thresholds, inside the block."""
    part = decider(detector)
    wanted = [
        (part, "score_thresh", score),
        (part, "nms_thresh", overlap),
        (getattr(detector, "rpn", None), "nms_thresh", first_overlap),
        (part, "topk_candidates", candidates),
        (part, "detections_per_img", most),
    ]
    changed = [(owner, name, getattr(owner, name), value) for owner, name, value in wanted if value is not None]
    try:
        for owner, name, _, value in changed:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, before, _ in changed:
            setattr(owner, name, before)


def _lower_threshold(source: DetectorSource) -> float | None:
    """A threshold that some objects are above, between two scores that are not close; None where there is none."""
    with _thresholds(source.detector, score=0.0):
        found = predict(source.detector, list(source.images))
    scores = torch.cat([one["scores"] for one in found]).sort(descending=True).values[: _WANTED + 1]
    if not len(scores):
        return None
    gaps = scores[:-1] - scores[1:]
    if not len(gaps) or float(gaps.max()) <= 0:
        return float(scores[-1]) / 2
    place = int(gaps.argmax())
    return float(scores[place] + scores[place + 1]) / 2


def _checked_size(size: Sequence[int]) -> tuple[int, int]:
    if len(size) != 2 or min(size) < 1:
        raise ShapeError(f"size is height and width of the images, each at least 1; got {list(size)}.")
    return int(size[0]), int(size[1])


def _drawn(size: tuple[int, int]) -> tuple[Tensor, ...]:
    from sklearn.datasets import load_sample_images

    generator = torch.Generator().manual_seed(0)
    photographs = [
        torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255 for image in load_sample_images().images
    ]
    coarse = torch.rand(1, 3, 4, 4, generator=generator)
    smooth = F.interpolate(coarse, size=size, mode="bilinear")
    seen = [F.interpolate(image, size=size, mode="bilinear", antialias=True) for image in photographs]
    noise, plain = torch.rand(1, 3, *size, generator=generator), torch.full((1, 3, *size), 0.5)
    return tuple(image[0].clamp(0, 1) for image in (*seen, smooth, noise, plain))


def _checked(images: Sequence[Tensor], size: tuple[int, int]) -> tuple[Tensor, ...]:
    if not len(images):
        raise ShapeError("at least one image is needed to compare a copy on.")
    for image in images:
        if tuple(image.shape) != (3, *size):
            raise ShapeError(
                f"the detector is compared on images of shape (3, {size[0]}, {size[1]}); got {tuple(image.shape)}."
            )
        if not image.is_floating_point() or not 0 <= float(image.min()) <= float(image.max()) <= 1:
            raise ShapeError(f"the images to compare on are in [0, 1], as floating point; got {image.dtype}.")
    return tuple(image.detach().to("cpu", torch.float32) for image in images)
