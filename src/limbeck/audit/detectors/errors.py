"""Does a student fail at the objects at which its teacher fails, in the same way?"""

from __future__ import annotations

import math

import torch

from limbeck.audit.detectors._registry import register
from limbeck.audit.detectors.examination import DetectorExamination
from limbeck.audit.detectors.outcomes import FOUND, OUTCOMES
from limbeck.audit.detectors.sums import kappa, partners, share_of_objects
from limbeck.audit.evidence import Answer, Evidence

WORDS = {
    "class": "objects seen as another class",
    "place": "objects badly placed",
    "both": "objects badly placed and seen as another class",
    "missed": "objects not seen at all",
}


@register
def errors(exam: DetectorExamination) -> Answer:
    """The kind of error at every object: found, wrong class, badly placed, both, missed.

    `kinds_alike` is Cohen's kappa of the five kinds over all objects, 0 for detectors that err independently.
    `same_kind` is the share of the objects that neither finds at which both err in the same way. The share of the
    objects with each kind of error is a trait.

    Args:
        exam: the sitting.

    References:
        Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors, ECCV 2020, section 2
        [bolya2020tide], whose kinds of detections are asked of objects here.
    """
    objects, images = exam.objects, len(exam)
    owner, kinds = objects.owner, len(OUTCOMES)
    teacher = exam.outcomes(exam.panel.teacher).outcomes
    other = partners(objects.labels, owner)
    elsewhere = torch.where(other >= 0, teacher[other], -1)
    alike, control, same = {}, {}, {}
    for learner in exam.panel.learners:
        mine = exam.outcomes(learner).outcomes
        alike[learner.name] = kappa(teacher, mine, kinds, owner, images)
        control[learner.name] = kappa(elsewhere, mine, kinds, owner, images)
        wrong = (teacher != FOUND) & (mine != FOUND)
        same[learner.name] = share_of_objects(
            (teacher == mine).double().masked_fill(~wrong, math.nan), owner, images
        )
    constants = exam.constants()
    shares = tuple(
        Evidence(
            "errors",
            name,
            WORDS[name],
            "trait",
            {
                subject.name: share_of_objects((exam.outcomes(subject).outcomes == kind).double(), owner, images)
                for subject in exam.panel
            },
            primary=False,
            better="lower",
            constants=constants,
        )
        for kind, name in enumerate(OUTCOMES)
        if kind != FOUND
    )
    return Answer(
        evidence=(
            Evidence(
                "errors",
                "kinds_alike",
                "same kind of error at an object (kappa)",
                "likeness",
                alike,
                unit="",
                chance=0.0,
                specificity=control,
                specificity_note="the teacher's error at another object of the class, in another image",
                constants=constants,
            ),
            Evidence(
                "errors",
                "same_kind",
                "same kind of error at objects that neither finds",
                "likeness",
                same,
                primary=False,
                constants=constants,
                note="Which objects neither finds differs from student to student.",
            ),
            *shares,
        ),
        figures=_matrices(exam),
    )


def _matrices(exam: DetectorExamination) -> dict[str, dict[str, object]]:
    """Teacher's kinds against each method's, its seeds added up, and the controls'."""
    kinds = len(OUTCOMES)
    teacher = exam.outcomes(exam.panel.teacher).outcomes
    counts: dict[str, torch.Tensor] = {}
    for learner in exam.panel.learners:
        pairs = torch.bincount(teacher * kinds + exam.outcomes(learner).outcomes, minlength=kinds * kinds)
        key = learner.method or learner.name
        counts[key] = counts.get(key, torch.zeros_like(pairs)) + pairs
    return {
        f"errors-{number}": {
            "title": f"What became of each object: teacher and {method}",
            "caption": "On the diagonal both end the same way. Counts of objects, all seeds added up.",
            "kind": "matrix",
            "rows": list(OUTCOMES),
            "columns": list(OUTCOMES),
            "values": table.view(kinds, kinds).tolist(),
            "x_label": method,
            "y_label": "teacher",
        }
        for number, (method, table) in enumerate(counts.items())
    }
