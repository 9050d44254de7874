"""Does the student see what its teacher sees and is not there?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from limbeck.audit.detectors._registry import register
from limbeck.audit.detectors.examination import DetectorExamination
from limbeck.audit.detectors.subjects import DetectorSubject
from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.tally import Tally
from limbeck.numerics.boxes import pairwise_iou


@register
def false_alarms(exam: DetectorExamination) -> Answer:
    """False alarms that the student shares with its teacher.

    A false alarm is a detection that counts, without an object of its class to itself and not inside a crowd;
    wrong classes, bad boxes and duplicates are among them. `repeated` is the share of the teacher's false alarms
    that the student gives too: one of its own of the same class, with an IoU of `foreground_iou`. `shared` is the
    share of the false alarms of both that the other one gives too (Dice's coefficient), which giving more alarms
    does not raise by itself. How many a detector gives for each image is a trait.

    Args:
        exam: the sitting.
    """
    images = len(exam)
    alarms = {subject.name: _alarms(exam, subject) for subject in exam.panel}
    teacher = alarms[exam.panel.teacher.name]
    moved = [teacher[(place + max(1, images // 2)) % images] for place in range(images)]
    repeated, shared, control = {}, {}, {}
    for learner in exam.panel.learners:
        mine = alarms[learner.name]
        repeated[learner.name] = _repeated(teacher, mine, exam.foreground_iou)
        shared[learner.name] = _shared(teacher, mine, exam.foreground_iou)
        control[learner.name] = _shared(moved, mine, exam.foreground_iou)
    total = sum(len(one["labels"]) for one in teacher)
    constants = {**exam.constants(), "teacher_false_alarms": total}
    return Answer(
        evidence=(
            Evidence(
                "false_alarms",
                "shared",
                "false alarms in common",
                "likeness",
                shared,
                specificity=control,
                specificity_note="the teacher's false alarms on another image",
                constants=constants,
            ),
            Evidence(
                "false_alarms",
                "repeated",
                "false alarms of the teacher that are repeated",
                "likeness",
                repeated,
                primary=False,
                constants=constants,
                note=f"Of the teacher's {total:,} false alarms. A detector that gives more alarms repeats more.",
            ),
            Evidence(
                "false_alarms",
                "each_image",
                "false alarms an image",
                "trait",
                {name: _count(found) for name, found in alarms.items()},
                unit="",
                margin=0.05,
                primary=False,
                better="lower",
                constants=constants,
            ),
        )
    )


def _alarms(exam: DetectorExamination, subject: DetectorSubject) -> list[dict[str, Tensor]]:
    outcome = exam.outcomes(subject)
    return [
        {key: value[wrong] for key, value in one.items()}
        for one, wrong in zip(outcome.kept, outcome.false, strict=True)
    ]


def _pairs(one: Mapping[str, Tensor], two: Mapping[str, Tensor], least: float) -> Tensor:
    """Which of one's detections are those of two, shape (a, b)."""
    same = one["labels"][:, None] == two["labels"][None]
    return same & (pairwise_iou(one["boxes"].double(), two["boxes"].double()) >= least)


def _repeated(
    first: Sequence[Mapping[str, Tensor]], second: Sequence[Mapping[str, Tensor]], least: float
) -> Tally:
    rows = [(_pairs(a, b, least).any(dim=1).sum(), len(a["labels"])) for a, b in zip(first, second, strict=True)]
    return Tally(torch.tensor(rows, dtype=torch.float64))


def _shared(first: Sequence[Mapping[str, Tensor]], second: Sequence[Mapping[str, Tensor]], least: float) -> Tally:
    rows = []
    for a, b in zip(first, second, strict=True):
        pairs = _pairs(a, b, least)
        common = pairs.any(dim=1).sum() + pairs.any(dim=0).sum()
        rows.append((common, len(a["labels"]) + len(b["labels"])))
    return Tally(torch.tensor(rows, dtype=torch.float64))


def _count(found: Sequence[Mapping[str, Tensor]]) -> Tally:
    return Tally(torch.tensor([(len(one["labels"]), 1) for one in found], dtype=torch.float64))
