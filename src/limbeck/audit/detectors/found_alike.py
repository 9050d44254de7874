"""Does the student find the objects that its teacher finds, and mistake the others for the same things?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limbeck.audit.detectors._registry import register
from limbeck.audit.detectors.examination import DetectorExamination
from limbeck.audit.detectors.outcomes import CLASS, FOUND, Outcomes
from limbeck.audit.detectors.pictures import found_pictures
from limbeck.audit.detectors.sums import by_image, kappa, partners, share_of_objects
from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.tally import Tally


@register
def found_alike(exam: DetectorExamination) -> Answer:
    r"""Objects found and missed by both: error consistency, and whether mistakes of class are passed on.

    `kappa` is Cohen's :math:`\kappa = (A - A_e) / (1 - A_e)` of found or not found: 0 for detectors that find
    objects independently of each other, however many, and 1 for the same objects. `same_mistake` is the share of
    the objects that the teacher takes for another class which the student takes for the same wrong one.
    `named_alike` is kappa of the class that each gives an object, "none" among them. Recall and the recall of the
    worst class are traits. An object is found by a detection that counts, of its class, matched as COCO does.

    Args:
        exam: the sitting.

    References:
        Geirhos et al., Beyond accuracy: quantifying trial-by-trial behaviour of CNNs and humans by measuring error
        consistency, NeurIPS 2020, section 2 [geirhos2020beyond].
    """
    objects, images, classes = exam.objects, len(exam), len(exam.class_names)
    owner = objects.owner
    teacher = exam.outcomes(exam.panel.teacher)
    of_teacher = _found(teacher)
    other = partners(objects.labels, owner)
    elsewhere = torch.where(other >= 0, of_teacher[other], -1)
    mistaken = teacher.outcomes == CLASS
    same, control, named, mistakes = {}, {}, {}, {}
    for learner in exam.panel.learners:
        outcome = exam.outcomes(learner)
        same[learner.name] = kappa(of_teacher, _found(outcome), 2, owner, images)
        control[learner.name] = kappa(elsewhere, _found(outcome), 2, owner, images)
        named[learner.name] = kappa(teacher.said, outcome.said, classes + 1, owner, images)
        repeated = (outcome.said == teacher.said).double().masked_fill(~mistaken, math.nan)
        mistakes[learner.name] = share_of_objects(repeated, owner, images)
    recall, worst = {}, {}
    for subject in exam.panel:
        found = _found(exam.outcomes(subject)).double()
        recall[subject.name] = share_of_objects(found, owner, images)
        worst[subject.name] = _worst_class(found, objects.labels, classes, owner, images)
    constants = exam.constants()
    question = "found_alike"
    return Answer(
        evidence=(
            Evidence(
                question,
                "kappa",
                "objects found and missed alike (kappa)",
                "likeness",
                same,
                unit="",
                chance=0.0,
                specificity=control,
                specificity_note="whether the teacher finds another object of the class, in another image",
                constants=constants,
            ),
            Evidence(
                question,
                "named_alike",
                "same class or none named for an object (kappa)",
                "likeness",
                named,
                unit="",
                primary=False,
                chance=0.0,
                constants=constants,
                note="Detectors that are right name objects alike too; the control tells how much.",
            ),
            Evidence(
                question,
                "same_mistake",
                "objects taken for the same wrong class as by the teacher",
                "likeness",
                mistakes,
                primary=False,
                constants={**constants, "teacher_mistakes": int(mistaken.sum())},
                note=f"Of the {int(mistaken.sum()):,} objects that the teacher takes for another class.",
            ),
            Evidence(
                question,
                "recall",
                "objects found",
                "trait",
                recall,
                primary=False,
                better="higher",
                constants=constants,
            ),
            Evidence(
                question,
                "worst_class",
                "objects found of the class that is found least",
                "trait",
                worst,
                primary=False,
                better="higher",
                constants=constants,
            ),
        ),
        tables={"found_alike-crosstab": _crosstab(exam, of_teacher)},
        pictures=found_pictures(exam),
        numbers={"thresholds": {s.name: exam.outcomes(s).threshold for s in exam.panel}},
    )


def _found(outcome: Outcomes) -> Tensor:
    return (outcome.outcomes == FOUND).long()


def _worst_class(found: Tensor, labels: Tensor, classes: int, owner: Tensor, images: int) -> Tally:
    """The lowest recall of a class that has objects."""
    of_class = torch.nn.functional.one_hot(labels, classes).double()

    def summary(sums: Tensor) -> Tensor:
        hits, all_of = sums[..., :classes], sums[..., classes:]
        return (hits / all_of).nan_to_num(math.inf).amin(dim=-1)

    return by_image(torch.cat([of_class * found[:, None], of_class], dim=1), owner, images, summary)


def _crosstab(exam: DetectorExamination, of_teacher: Tensor) -> dict[str, object]:
    rows = []
    for learner in exam.panel.learners:
        mine = _found(exam.outcomes(learner))
        counts = torch.bincount(2 * of_teacher + mine, minlength=4).tolist()
        rows.append(
            {"name": learner.name, **dict(zip(("neither", "mine", "teacher", "both"), counts, strict=True))}
        )
    return {
        "title": "Objects found by teacher and student",
        "columns": [
            {"key": "name", "label": "Detector"},
            {"key": "both", "label": "Both"},
            {"key": "teacher", "label": "Teacher alone"},
            {"key": "mine", "label": "Student alone"},
            {"key": "neither", "label": "Neither"},
        ],
        "rows": rows,
    }
