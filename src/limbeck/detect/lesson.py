"""What the terms of one step are computed from: each thing once, and only if a term asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.detect.classifier import ClassifierTeacher
from limbeck.detect.config import Teaching
from limbeck.errors import ModelError, TaskError
from limbeck.models.detectors.head_rest import Tower, before_activation, head_rest, side_rest
from limbeck.models.detectors.rois import rois
from limbeck.models.detectors.seen import Dense, Positives, Proposals, Seen
from limbeck.models.detectors.watching import Watch
from limbeck.numerics.boxes import centres
from limbeck.numerics.channel_moments import restandardised
from limbeck.numerics.class_relations import cosine_distance, relation_cost
from limbeck.numerics.crops import box_crops, usable_boxes
from limbeck.numerics.imitation import atss_thresholds, imitation_mask, valuable_region
from limbeck.numerics.levels import resize_to

ANCHOR_CELLS = 8
"""Cells a side of the anchors of the detector that localisation distillation was published for."""
DEFAULT_CROP = 112
"""Pixels a side of a crop where no classifier says what it was trained on; the paper's."""


@dataclass
class Teachers:
    """Who teaches a detector.

    Attributes:
        classifier: of the objects.
        detector: a larger one, watched, in eval mode.
        labels: logits of every object of the training set, by its number, (objects, classes), instead of
            asking the
            classifier again.
        teaching: how the classifier's knowledge is passed on.
    """

    classifier: ClassifierTeacher | None = None
    detector: Watch | None = None
    labels: Tensor | None = None
    teaching: Teaching = field(default_factory=Teaching)

    @property
    def crop_size(self) -> int:
        """Pixels a side of all crops."""
        if self.classifier is not None:
            return self.classifier.crop_size
        return self.teaching.crop_size or DEFAULT_CROP

    def close(self) -> None:
        """Take all hooks off."""
        if self.classifier is not None:
            self.classifier.close()
        if self.detector is not None:
            self.detector.close()


@dataclass(frozen=True)
class Reading:
    """What a term reads.

    Attributes:
        taps: module paths of the classifier.
        levels: names of feature maps; all that both detectors have unless given.
        tower: convolution of the head behind which a student's features enter the teacher's head.
        cost: between the columns of the second stage's logits.
    """

    taps: tuple[str, ...] = ()
    levels: tuple[str, ...] | None = None
    tower: int | None = None
    cost: Tensor | None = None


class Lesson:
    """One batch as the student saw it, and what its teachers say about it.

    Args:
        seen: of the student.
        teachers: who teaches.
        student: the detector itself.
        heads: a term asks for what a teacher's head says, and not only for its feature maps.
    """

    def __init__(self, seen: Seen, teachers: Teachers, student: nn.Module, *, heads: bool = True) -> None:
        self.seen, self.teachers, self.student = seen, teachers, student
        self._heads = heads
        self._true_maps: dict[tuple[str, ...], list[Tensor]] = {}
        self._predicted_maps: dict[tuple[str, ...], list[Tensor]] = {}

    def get(self, name: str, reading: Reading) -> Any:
        """One input of a loss.

        Args:
            name: of the parameter.
            reading: what the term reads.

        Raises:
            TaskError: nothing of that name can be supplied.
            ModelError: the detector has no such thing.
        """
        return INPUTS[name](self, reading)

    # ---- objects and positives

    @cached_property
    def positives(self) -> Positives:
        """Predictions matched to an object."""
        found = self.seen.positives
        assert found is not None  # there is a target in training
        return found

    @cached_property
    def counts(self) -> list[int]:
        """Objects in each image."""
        return [len(target["boxes"]) for target in self.seen.targets]

    @cached_property
    def matched(self) -> Tensor:
        """Place of each positive's object among all objects of the batch, (K,)."""
        device = self.positives.image.device
        ends = torch.tensor([0, *self.counts[:-1]], device=device).cumsum(0)
        return ends[self.positives.image] + self.positives.object

    @cached_property
    def limits(self) -> Tensor:
        """Height and width of each image inside the padded batch, (n, 2)."""
        return torch.tensor(self.seen.sizes, device=self.seen.images.device)

    @cached_property
    def chosen(self) -> Tensor:
        """Places of the positives whose predicted boxes are cropped."""
        found = self.positives
        teaching = self.teachers.teaching
        usable = usable_boxes(found.boxes, found.image, self.limits, least=teaching.least_side)
        places = usable.nonzero()[:, 0]
        if teaching.max_positives is None:
            return places
        return places[_some_of_each(found.image[places], teaching.max_positives)]

    # ---- crops, in [0, 1]

    @cached_property
    def object_crops(self) -> Tensor:
        """All objects of the batch, cut out: (objects, 3, s, s)."""
        device = self.seen.images.device
        owner = torch.repeat_interleave(torch.tensor(self.counts, device=device))
        boxes = torch.cat([target["boxes"] for target in self.seen.targets])
        return self._crops(owner, boxes)

    @cached_property
    def predicted_crops(self) -> Tensor:
        """At the chosen predicted boxes, with their gradient."""
        found = self.positives
        return self._crops(found.image[self.chosen], found.boxes[self.chosen])

    @cached_property
    def true_crops(self) -> Tensor:
        """Of the objects that the chosen predictions belong to."""
        return self.object_crops[self.matched[self.chosen]]

    def _crops(self, owner: Tensor, boxes: Tensor) -> Tensor:
        seen = self.seen
        crops = box_crops(seen.images, owner, boxes, size=self.teachers.crop_size, limits=self.limits)
        scale, shift = (crops.new_tensor(values).view(3, 1, 1) for values in (seen.std, seen.mean))
        return crops * scale + shift

    # ---- the classifier

    @property
    def classifier(self) -> ClassifierTeacher:
        """The classifier that teaches."""
        found = self.teachers.classifier
        if found is None:
            raise TaskError("this term asks a classifier, and none teaches: classifier: <stage or model file>.")
        return found

    @cached_property
    def object_logits(self) -> Tensor:
        """Of the object that each positive was matched to, (K, classes)."""
        labels = self.teachers.labels
        if labels is None:
            return self.classifier.logits(self.object_crops)[self.matched]
        numbers = torch.cat([target["objects"] for target in self.seen.targets])
        return labels[numbers][self.matched]

    def true_maps(self, taps: tuple[str, ...]) -> list[Tensor]:
        """The classifier's first layers at the true boxes of the chosen positives."""
        if taps not in self._true_maps:
            with torch.no_grad():  # each object once, however many positives it has
                maps = self.classifier.maps(self.object_crops, taps)
            self._true_maps[taps] = [each[self.matched[self.chosen]] for each in maps]
        return self._true_maps[taps]

    def predicted_maps(self, taps: tuple[str, ...]) -> list[Tensor]:
        """The same at their predicted boxes, with gradient."""
        if taps not in self._predicted_maps:
            self._predicted_maps[taps] = self.classifier.maps(self.predicted_crops, taps)
        return self._predicted_maps[taps]

    # ---- the larger detector

    @property
    def watch(self) -> Watch:
        """The detector that teaches, watched."""
        found = self.teachers.detector
        if found is None:
            raise TaskError("this term asks a detector, and none teaches: detector: <stage or model file>.")
        return found

    @cached_property
    def teacher(self) -> Seen:
        """What the teacher makes of the student's input."""
        return self.watch.look_as(self.seen, heads=self._heads)

    def levels(self, reading: Reading) -> list[str]:
        """Names of the feature maps that are compared."""
        return common_levels(self.seen.features, self.teacher.features, reading.levels)

    def student_maps(self, reading: Reading) -> list[Tensor]:
        """The student's, by level."""
        return [self.seen.features[level] for level in self.levels(reading)]

    def teacher_maps(self, reading: Reading) -> list[Tensor]:
        """The teacher's, in the student's sizes."""
        maps = [self.teacher.features[level] for level in self.levels(reading)]
        return resize_to(maps, self.student_maps(reading))

    @cached_property
    def relative_boxes(self) -> list[Tensor]:
        """Objects of each image, relative to the padded input, (k, 4) in [0, 1]."""
        height, width = self.seen.images.shape[-2:]
        scale = self.seen.images.new_tensor([width, height, width, height])
        return [target["boxes"] / scale for target in self.seen.targets]

    @cached_property
    def anchors(self) -> Sequence[Tensor]:
        """Of each image."""
        found = self.seen.anchors
        if found is None:
            raise ModelError("this term looks at the detector's anchors, and it has none.")
        return found

    def anchor_masks(self, reading: Reading) -> list[Tensor]:
        """FGFI's mask of each compared level, bool (n, h, w)."""
        sizes = [(int(f.shape[-2]), int(f.shape[-1])) for f in self.seen.features.values()]
        each = [
            imitation_mask(
                anchors, target["boxes"], sizes=sizes, anchors_per_position=list(self.seen.anchors_per_cell)
            )
            for anchors, target in zip(self.anchors, self.seen.targets, strict=True)
        ]
        names = list(self.seen.features)
        return [torch.stack([masks[names.index(level)] for masks in each]) for level in self.levels(reading)]

    # ---- second stages

    @cached_property
    def proposals(self) -> Proposals:
        """The student's sampled proposals."""
        found = self.seen.proposals
        if found is None:
            raise ModelError("this term compares second stages; both detectors have to be of the R-CNN family.")
        return found

    @cached_property
    def teacher_rois(self) -> tuple[Tensor, Tensor, Tensor]:
        """The teacher's logits, deltas and pooled features for the student's proposals."""
        with torch.no_grad():
            found: tuple[Tensor, Tensor, Tensor] = rois(
                self.watch.detector, self.teacher.features, self.proposals.boxes, self.seen.sizes
            )
        return found

    # ---- heads

    def dense(self, seen: Seen) -> Dense:
        """A one-stage head's outputs."""
        if seen.dense is None:
            raise ModelError("this term compares one-stage heads; this detector has two stages.")
        return seen.dense

    def crossing(self, tower: Tower, behind: int | None) -> tuple[list[Tensor], int]:
        """The student's features in the teacher's statistics, and how many convolutions they have behind them.

        Args:
            tower: of the head.
            behind: number of the convolution, from 0; the last but one unless given.
        """
        dense = self.dense(self.seen)
        ours = dense.class_towers if tower == "classification" else dense.box_towers
        if not ours:
            raise ModelError("crosskd needs heads with towers of convolutions, as RetinaNet and FCOS have them.")
        place = len(ours[0]) - 2 if behind is None else behind
        if not 0 <= place < len(ours[0]):
            raise ModelError(f"crosskd: the head's towers have convolutions 0 to {len(ours[0]) - 1}, not {place}.")
        entering = [level[place - 1] for level in ours] if place else list(self.seen.features.values())
        mine = before_activation(self.student, tower, entering, place, after=place)
        with torch.no_grad():
            levels = list(self.teacher.features.values())
            theirs = before_activation(self.watch.detector, tower, levels, place)
        if mine[0].shape != theirs[0].shape:
            raise ModelError(
                f"crosskd: behind convolution {place} the student has maps {tuple(mine[0].shape[1:])}, the "
                f"teacher "
                f"{tuple(theirs[0].shape[1:])}; both need the same strides and the same fpn_channels."
            )
        maps = [restandardised(one, like).relu() for one, like in zip(mine, theirs, strict=True)]
        return maps, place + 1

    def crossed(self, tower: Tower, behind: int | None) -> Tensor:
        """What the teacher's head makes of the student's features (CrossKD), (n, A, outputs)."""
        maps, after = self.crossing(tower, behind)
        return head_rest(self.watch.detector, tower, maps, after)

    def crossed_sides(self, behind: int | None) -> Tensor:
        """The same for distributions of box sides, (n, A, 4, bins + 1)."""
        maps, after = self.crossing("regression", behind)
        return side_rest(self.watch.detector, maps, after)

    @cached_property
    def matches(self) -> Tensor:
        """The object of each anchor, below zero where it has none, (n, A)."""
        found = self.dense(self.seen).matched
        assert found is not None  # in training
        return found

    @cached_property
    def sides(self) -> tuple[Tensor, Tensor]:
        """Distributions of box sides of student and teacher, logits (n, A, 4, bins + 1)."""
        ours, theirs = self.dense(self.seen).side_logits, self.dense(self.teacher).side_logits
        if ours is None or theirs is None:
            raise ModelError(
                "localisation distillation needs box heads that predict distributions, in both detectors: "
                "{name: fcos, bins: 16}."
            )
        return ours, theirs

    @cached_property
    def side_region(self) -> Tensor:
        """The valuable region of localisation distillation, bool (n, A).

        Overlaps are those of anchors as large as the objects of their level, as in the paper's detector; the ones
        of FCOS are single cells, which overlap no object well.
        """
        sizes = [f.shape[-2] * f.shape[-1] for f in self.seen.features.values()]
        counts = [cells * per for cells, per in zip(sizes, self.seen.anchors_per_cell, strict=True)]
        return torch.stack(
            [
                valuable_region(
                    anchors,
                    target["boxes"],
                    thresholds=atss_thresholds(anchors, target["boxes"], counts=counts),
                )
                for anchors, target in zip(map(_grown, self.anchors), self.seen.targets, strict=True)
            ]
        )


INPUTS: Mapping[str, Callable[[Lesson, Reading], Any]] = {
    "positive_logits": lambda lesson, _: lesson.positives.logits,
    "object_logits": lambda lesson, _: lesson.object_logits,
    "predicted_crops": lambda lesson, _: lesson.predicted_crops,
    "true_crops": lambda lesson, _: lesson.true_crops,
    "predicted_maps": lambda lesson, reading: lesson.predicted_maps(reading.taps),
    "true_maps": lambda lesson, reading: lesson.true_maps(reading.taps),
    "student_maps": lambda lesson, reading: lesson.student_maps(reading),
    "teacher_maps": lambda lesson, reading: lesson.teacher_maps(reading),
    "boxes": lambda lesson, _: lesson.relative_boxes,
    "anchor_masks": lambda lesson, reading: lesson.anchor_masks(reading),
    "student_logits": lambda lesson, _: lesson.proposals.logits,
    "teacher_logits": lambda lesson, _: lesson.teacher_rois[0],
    "proposal_labels": lambda lesson, _: lesson.proposals.labels,
    "student_pooled": lambda lesson, _: lesson.proposals.pooled,
    "teacher_pooled": lambda lesson, _: lesson.teacher_rois[2],
    "cost": lambda _, reading: reading.cost,
    "crossed_logits": lambda lesson, reading: lesson.crossed("classification", reading.tower),
    "teacher_class_logits": lambda lesson, _: lesson.dense(lesson.teacher).class_logits,
    "student_class_logits": lambda lesson, _: lesson.dense(lesson.seen).class_logits,
    "anchor_matches": lambda lesson, _: lesson.matches,
    "crossed_sides": lambda lesson, reading: lesson.crossed_sides(reading.tower),
    "crossed_boxes": lambda lesson, reading: lesson.dense(lesson.teacher).decode(
        lesson.crossed("regression", reading.tower)
    ),
    "teacher_boxes": lambda lesson, _: lesson.dense(lesson.teacher).boxes(),
    "student_sides": lambda lesson, _: lesson.sides[0],
    "teacher_sides": lambda lesson, _: lesson.sides[1],
    "side_positives": lambda lesson, _: lesson.matches >= 0,
    "side_region": lambda lesson, _: lesson.side_region,
}
"""What a detection task can supply to a loss, by the name of its parameter."""

ASKS_CLASSIFIER = frozenset({"object_logits", "predicted_maps", "true_maps"})
ASKS_DETECTOR = frozenset(
    {
        "teacher_maps",
        "teacher_logits",
        "teacher_pooled",
        "crossed_logits",
        "crossed_boxes",
        "crossed_sides",
        "teacher_class_logits",
        "teacher_boxes",
        "teacher_sides",
        "cost",
    }
)

ASKS_HEAD = frozenset(
    {
        "crossed_logits",
        "crossed_boxes",
        "crossed_sides",
        "teacher_class_logits",
        "teacher_boxes",
        "teacher_sides",
    }
)
"""Inputs for which a one-stage teacher's head has to run."""


def common_levels(
    student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], wanted: Sequence[str] | None
) -> list[str]:
    """Feature maps to compare: those asked for, or all that both detectors have.

    Raises:
        ModelError: a name that one of them does not have, or none in common.
    """
    for name in wanted or ():
        if name not in student or name not in teacher:
            raise ModelError(
                f"levels: '{name}' is not in both detectors; the student has {', '.join(student)}, the teacher "
                f"{', '.join(teacher)}."
            )
    found = list(wanted) if wanted else [name for name in student if name in teacher]
    if not found:
        raise ModelError(
            f"student and teacher share no feature level: {', '.join(student)} against {', '.join(teacher)}."
        )
    return found


def _grown(cells: Tensor) -> Tensor:
    """Boxes about the same middles, `ANCHOR_CELLS` times as wide and high."""
    middle, half = centres(cells), ANCHOR_CELLS * (cells[:, 2:] - cells[:, :2]) / 2
    return torch.cat((middle - half, middle + half), dim=1)


def _some_of_each(image: Tensor, most: int) -> Tensor:
    """Places of at most so many of each image, at random, in their order."""
    if len(image) <= most:
        return torch.arange(len(image), device=image.device)
    order = (image + torch.rand(len(image), device=image.device, dtype=torch.float64)).argsort()
    sorted_images = image[order]
    begins = torch.searchsorted(sorted_images, sorted_images)  # where each one's image begins
    rank = torch.arange(len(image), device=image.device) - begins
    return order[rank < most].sort().values


def column_cost(detector: nn.Module) -> Tensor:
    """Ground cost between the columns of a two-stage detector's logits, the background among them.

    From the cosines between the rows of its class layer, as WKD takes it from a classifier's.

    Raises:
        ModelError: no such layer.
    """
    layer: Any = getattr(getattr(getattr(detector, "roi_heads", None), "box_predictor", None), "cls_score", None)
    if layer is None:
        raise ModelError("a ground cost between classes is taken from the class layer of an R-CNN's second stage.")
    return relation_cost(cosine_distance(layer.weight.detach().float()))
