"""Does the student draw its teacher's boxes, and is it as certain of them?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.audit.detectors._registry import register
from limbeck.audit.detectors.examination import DetectorExamination
from limbeck.audit.detectors.outcomes import Outcomes
from limbeck.audit.detectors.sums import correlation, partners
from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.tally import Tally
from limbeck.measures.detection import tide_errors
from limbeck.numerics.boxes import pairwise_iou


@register
def boxes(exam: DetectorExamination) -> Answer:
    """Agreement of the detections themselves, right or wrong.

    `overlap` is the mean, over the teacher's detections that count, of the IoU with the student's nearest one of
    the same class, 0 where it has none; `overlap_back` the same over the student's detections. Good detectors
    agree because both are right. `offsets` therefore looks at what is left when the truth is taken off: the
    correlation of where both depart from the true box (centre in units of the box, logarithm of the sides; the
    mean of the four), and `scores` the correlation of how certain both are of an object. For both the best
    detection of the object's class at its place is taken, whatever its score; a missing one has score 0, no box.

    In numbers: average precision of every student with the teacher's detections that count as the truth.

    Args:
        exam: the sitting.
    """
    objects, images = exam.objects, len(exam)
    owner = objects.owner
    teacher = exam.outcomes(exam.panel.teacher)
    other = partners(objects.labels, owner)
    there = other >= 0
    off = offsets_of(teacher.boxes, objects.boxes)
    off_elsewhere = torch.where(there[:, None], off[other], math.nan)
    scores_elsewhere = torch.where(there, teacher.scores[other], math.nan)
    moved = [teacher.kept[(place + max(1, images // 2)) % images] for place in range(images)]
    overlap, overlap_back, overlap_moved = {}, {}, {}
    offsets, offsets_control, scores, scores_control = {}, {}, {}, {}
    for learner in exam.panel.learners:
        name, mine = learner.name, exam.outcomes(learner)
        overlap[name] = _overlap(teacher.kept, mine.kept)
        overlap_back[name] = _overlap(mine.kept, teacher.kept)
        overlap_moved[name] = _overlap(moved, mine.kept)
        mine_off = offsets_of(mine.boxes, objects.boxes)
        offsets[name] = correlation(off, mine_off, owner, images)
        offsets_control[name] = correlation(off_elsewhere, mine_off, owner, images)
        scores[name] = correlation(teacher.scores[:, None], mine.scores[:, None], owner, images)
        scores_control[name] = correlation(scores_elsewhere[:, None], mine.scores[:, None], owner, images)
    constants = exam.constants()
    return Answer(
        evidence=(
            Evidence(
                "boxes",
                "overlap",
                "overlap of the teacher's detections with the student's",
                "likeness",
                overlap,
                specificity=overlap_moved,
                specificity_note="the teacher's detections of another image",
                constants={**constants, "teacher_detections": sum(len(one["scores"]) for one in teacher.kept)},
            ),
            Evidence(
                "boxes",
                "offsets",
                "same departures from the true boxes (correlation)",
                "likeness",
                offsets,
                unit="",
                chance=0.0,
                specificity=offsets_control,
                specificity_note="the teacher's departure at another object of the class, in another image",
                constants=constants,
            ),
            Evidence(
                "boxes",
                "scores",
                "same confidence in an object (correlation)",
                "likeness",
                scores,
                unit="",
                chance=0.0,
                specificity=scores_control,
                specificity_note="the teacher's confidence in another object of the class, in another image",
                constants=constants,
            ),
            Evidence(
                "boxes",
                "overlap_back",
                "overlap of the student's detections with the teacher's",
                "likeness",
                overlap_back,
                primary=False,
                constants=constants,
            ),
        ),
        numbers={"ap50_on_teacher": _ap_on_teacher(exam, teacher)},
    )


def offsets_of(found: Tensor, true: Tensor) -> Tensor:
    """How far boxes are off.

    Args:
        found: x1, y1, x2, y2, shape (k, 4); NaN where there is none.
        true: shape (k, 4).

    Returns:
        Shape (k, 4): the centre's way to the right and down, in widths and heights of the true box, and the
        logarithm of how much wider and higher. NaN for boxes without area.

    Example:
        >>> offsets_of(torch.tensor([[1.0, 0.0, 5.0, 2.0]]), torch.tensor([[0.0, 0.0, 4.0, 2.0]])).tolist()
        [[0.25, 0.0, 0.0, 0.0]]
    """
    sides, true_sides = found[:, 2:] - found[:, :2], true[:, 2:] - true[:, :2]
    centres, true_centres = found[:, 2:] + found[:, :2], true[:, 2:] + true[:, :2]
    moved = (centres - true_centres) / 2 / true_sides
    off = torch.cat([moved, (sides / true_sides).log()], dim=1)
    return off.where(off.isfinite(), math.nan)


def _overlap(first: Sequence[Mapping[str, Tensor]], second: Sequence[Mapping[str, Tensor]]) -> Tally:
    """For each detection of the first the best IoU with one of the second of the same class."""
    columns = torch.zeros(len(first), 2, dtype=torch.float64)
    for row, (one, two) in enumerate(zip(first, second, strict=True)):
        columns[row, 1] = len(one["labels"])
        if len(one["labels"]) and len(two["labels"]):
            same = one["labels"][:, None] == two["labels"][None]
            columns[row, 0] = (pairwise_iou(one["boxes"].double(), two["boxes"].double()) * same).amax(dim=1).sum()
    return Tally(columns)


def _ap_on_teacher(exam: DetectorExamination, teacher: Outcomes) -> dict[str, Any]:
    """AP at the foreground IoU, None where the teacher finds nothing."""
    found = {}
    for learner in exam.panel.learners:
        value = tide_errors(
            exam.predictions(learner),
            teacher.kept,
            classes=len(exam.class_names),
            foreground_iou=exam.foreground_iou,
            background_iou=exam.background_iou,
        ).AP
        found[learner.name] = None if math.isnan(value) else value
    return found
