"""How good a detector is: COCO's scores, and which kinds of error keep it from being better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from limbeck.detect.config import Scoring
from limbeck.detect.data import SomeImages, picture, require_objects
from limbeck.engine import Machine
from limbeck.engine.gather import gathered_objects
from limbeck.measures.detection import CocoScores, Errors, coco_scores, errors_by_iou, tide_errors
from limbeck.measures.detection.average_precision import require_library
from limbeck.models.detectors import predict
from limbeck.protocols import DetectionSource

CURVE_IOUS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
HEADLINES = ("AP", "AP50", "AP75")
MAIN_ERRORS = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
ERROR_WORDS: Mapping[str, str] = {
    "Cls": "classification",
    "Loc": "localisation",
    "Both": "class and box",
    "Dupe": "duplicate",
    "Bkg": "background",
    "Miss": "missed",
    "FalsePos": "all false positives",
    "FalseNeg": "all misses",
}


@dataclass(frozen=True)
class Scores:
    """What a detector reaches on one split.

    Attributes:
        coco: the twelve numbers of COCO and curves, fractions.
        errors: what each kind of error costs of the AP at one overlap.
        predictions: of each image, boxes in its pixels.
    """

    coco: CocoScores
    errors: Errors
    predictions: Sequence[Mapping[str, Tensor]]

    def numbers(self) -> dict[str, dict[str, Any]]:
        """AP, AP50 and so on, and the cost of each kind of error, as a result has them."""
        found = {
            name: {"value": value, "unit": "fraction", "better": "higher"}
            for name, value in self.coco.numbers().items()
            if value == value  # no object of that size is no score of 0
        }
        for iou, value in self.coco.by_iou.items():
            if value == value:
                found.setdefault(f"AP{round(100 * iou)}", {"value": value, "unit": "fraction", "better": "higher"})
        for name in MAIN_ERRORS:
            if self.errors.dAP[name] == self.errors.dAP[name]:
                found[f"error_{name}"] = {"value": self.errors.dAP[name], "unit": "fraction", "better": "lower"}
        return found


class Judge:
    """Measures detectors on one split of a source.

    Args:
        source: the split.
        scoring: how.
        machine: where; several processes share the images.

    Raises:
        MissingExtraError: the library for COCO's scores is not installed.
        DataError: no image has a box, so that there is no score.
    """

    def __init__(self, source: DetectionSource, scoring: Scoring, machine: Machine) -> None:
        require_library()
        self.scoring, self.machine = scoring, machine
        self.source = source if scoring.limit is None else SomeImages(source, scoring.limit)
        require_objects(self.source, "measure")

    @property
    def classes(self) -> int:
        """How many, without the background."""
        return len(self.source.class_names)

    @cached_property
    def truth(self) -> list[dict[str, Tensor]]:
        """Objects of each image."""
        return [
            {"boxes": s.boxes, "labels": s.labels, "crowd": s.crowd, "areas": s.areas}
            for s in (self.source[place] for place in range(len(self.source)))
        ]

    def predictions(self, detector: nn.Module) -> list[dict[str, Tensor]]:
        """The most certain detections of every image, on the CPU."""
        machine, size = self.machine, self.scoring.batch_size
        total = len(self.source)
        share = range(total * machine.rank // machine.world, total * (machine.rank + 1) // machine.world)
        found: list[dict[str, Tensor]] = []
        for start in range(share.start, share.stop, size):
            places = range(start, min(start + size, share.stop))
            images = [picture(self.source, place, machine.device) for place in places]
            with machine.autocast():
                made = predict(detector, images)
            found += [{key: value.cpu() for key, value in self._best(one).items()} for one in made]
        return gathered_objects(found)

    def __call__(self, detector: nn.Module) -> Scores:
        """Scores and errors of a detector, which keeps its mode."""
        predictions = self.predictions(detector)
        scoring = self.scoring
        return Scores(
            coco=coco_scores(
                predictions, self.truth, classes=self.classes, class_names=list(self.source.class_names)
            ),
            errors=tide_errors(
                predictions,
                self.truth,
                classes=self.classes,
                foreground_iou=scoring.foreground_iou,
                background_iou=scoring.background_iou,
                max_detections=scoring.max_detections,
            ),
            predictions=predictions,
        )

    def errors_along(self, scores: Scores) -> dict[float, Errors]:
        """The breakdown at several overlaps, as the paper's analysis has it."""
        return errors_by_iou(
            scores.predictions,
            self.truth,
            classes=self.classes,
            foreground_ious=CURVE_IOUS,
            background_iou=self.scoring.background_iou,
            max_detections=self.scoring.max_detections,
        )

    def _best(self, prediction: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A prediction's most certain detections, in float32: a library of its own sorts them again."""
        order = prediction["scores"].argsort(descending=True, stable=True)[: self.scoring.max_detections]
        return {key: value[order] for key, value in prediction.items()}
