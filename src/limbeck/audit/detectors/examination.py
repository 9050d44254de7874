"""One sitting of detectors: the images, what is on them, and what every detector finds there, computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from limbeck.audit.detectors.outcomes import Outcomes, best, outcomes_of, threshold_for
from limbeck.audit.detectors.subjects import DetectorPanel, DetectorSubject
from limbeck.errors import ConfigError, DataError, ModelError
from limbeck.models.detectors import predict
from limbeck.protocols import DetectionSample, DetectionSource

MAX_DETECTIONS = 100
"""The best-scored of an image that count, as COCO's scores have it."""


@dataclass(frozen=True, eq=False)
class Objects:
    """All objects of the images in order, crowds left out.

    Attributes:
        boxes: shape (k, 4), x1, y1, x2, y2 in pixels of their image.
        labels: shape (k,), 0..C-1.
        owner: number of the image within the examination, shape (k,).
    """

    boxes: Tensor
    labels: Tensor
    owner: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class DetectorExamination:
    """What a question about detectors may look at.

    Attributes:
        panel: the detectors.
        source: test images with their objects.
        limit: images at most, spread evenly over the source; all of them by default.
        score: score from which a detection counts. None, the default, lets each detector keep as many detections
            as there are objects in all images: scores of different detectors do not mean the same, and at a fixed
            one a timid detector finds next to nothing.
        foreground_iou: overlap from which an object is found; 0.5, as PASCAL and TIDE [bolya2020tide] have it.
        background_iou: overlap from which a detection has anything to do with an object; 0.1 [bolya2020tide].
        seed: of everything random; every detector sees the same draws.
        batch_size: images at a time.
        device: where the detectors are.
        note: called with a few words whenever something takes a while.

    Raises:
        ConfigError: thresholds that are none, or overlaps not ordered 0 < background < foreground <= 1.
        DataError: no image has an object.
        ModelError: a detector of other classes than the images have.
    """

    panel: DetectorPanel
    source: DetectionSource
    limit: int | None = None
    score: float | None = None
    foreground_iou: float = 0.5
    background_iou: float = 0.1
    seed: int = 0
    batch_size: int = 8
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    note: Callable[[str], None] = lambda _: None
    _found: dict[str, list[dict[str, Tensor]]] = field(default_factory=dict, repr=False)
    _judged: dict[str, Outcomes] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.score is not None and not 0 < self.score < 1:
            raise ConfigError(
                f"audit: score is {self.score}; it is between 0 and 1, or None for as many detections as objects."
            )
        if not 0 < self.background_iou < self.foreground_iou <= 1:
            raise ConfigError(
                f"audit: background_iou is {self.background_iou} and foreground_iou {self.foreground_iou}, but "
                "0 < background_iou < foreground_iou <= 1 is needed."
            )
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"audit: limit is {self.limit}; at least 1 image is needed, or None for all.")
        for subject in self.panel:
            _require_classes(subject, self.class_names)
        if len(self.objects) == 0:
            raise DataError(
                f"audit: none of the {len(self.places):,} images has an object, so that there is nothing to find; "
                "take another split or a higher limit."
            )

    def __len__(self) -> int:
        """Images."""
        return len(self.places)

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Indices of the images in the source."""
        total = len(self.source)
        count = total if self.limit is None else min(self.limit, total)
        return tuple(total * place // count for place in range(count))

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels."""
        return tuple(self.source.class_names)

    def sample(self, number: int) -> DetectionSample:
        """An image of the examination with its objects."""
        return self.source[self.places[number]]

    def image(self, number: int) -> Tensor:
        """An image as detectors take it: float32 (3, h, w) in [0, 1], on the device."""
        return self.sample(number).image.to(self.device, torch.float32) / 255

    @cached_property
    def truth(self) -> list[dict[str, Tensor]]:
        """What is on each image."""
        return [
            {"boxes": s.boxes, "labels": s.labels, "crowd": s.crowd, "areas": s.areas}
            for s in map(self.sample, range(len(self)))
        ]

    @cached_property
    def objects(self) -> Objects:
        """All objects but crowds."""
        solid = [~one["crowd"].bool() for one in self.truth]
        return Objects(
            torch.cat([one["boxes"][keep] for one, keep in zip(self.truth, solid, strict=True)]).double(),
            torch.cat([one["labels"][keep] for one, keep in zip(self.truth, solid, strict=True)]),
            torch.cat([torch.full((int(keep.sum()),), row) for row, keep in enumerate(solid)]),
        )

    def predictions(self, subject: DetectorSubject) -> Sequence[Mapping[str, Tensor]]:
        """What a detector finds on each image, on the CPU, the most certain first; computed once.

        Raises:
            DataError: scores or boxes that are not finite.
        """
        if subject.name not in self._found:
            self.note(f"{subject.name}: {len(self):,} images")
            found: list[dict[str, Tensor]] = []
            for rows in torch.arange(len(self)).split(self.batch_size):
                made = predict(subject.detector, [self.image(row) for row in rows.tolist()])
                found += [{key: value.cpu() for key, value in one.items()} for one in made]
            self._found[subject.name] = best(found, MAX_DETECTIONS)
        return self._found[subject.name]

    def outcomes(self, subject: DetectorSubject) -> Outcomes:
        """What becomes of every object under a detector; computed once."""
        if subject.name not in self._judged:
            found = self.predictions(subject)
            self._judged[subject.name] = outcomes_of(
                found,
                self.truth,
                classes=len(self.class_names),
                threshold=threshold_for(found, len(self.objects)) if self.score is None else self.score,
                foreground_iou=self.foreground_iou,
                background_iou=self.background_iou,
                where=f"audit: {subject.name}",
            )
        return self._judged[subject.name]

    def constants(self) -> dict[str, object]:
        """What every number of this examination depends on, as JSON."""
        return {
            "images": len(self),
            "objects": len(self.objects),
            "score": "as many detections as objects" if self.score is None else self.score,
            "foreground_iou": self.foreground_iou,
            "background_iou": self.background_iou,
        }


def _require_classes(subject: DetectorSubject, wanted: tuple[str, ...]) -> None:
    """Make sure that a detector's labels mean what the images' do, as far as it tells."""
    spec, data = (getattr(subject.detector, name, None) for name in ("limbeck_spec", "limbeck_data"))
    names = tuple(getattr(data, "class_names", ()))
    if names and names != wanted:
        raise ModelError(
            f"audit: {subject.name} was trained on the classes {_some(names)}, but those of the images are "
            f"{_some(wanted)}; all detectors need the classes of the images, in the same order."
        )
    count = None if spec is None else spec.get("num_classes")
    if count is not None and count != len(wanted):
        raise ModelError(
            f"audit: {subject.name} has {count} classes, but the images have {len(wanted)}: {_some(wanted)}."
        )


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
