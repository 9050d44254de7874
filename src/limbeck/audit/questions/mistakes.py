"""Does the student err where the teacher errs, and in the same way?"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.examination import Examination
from limbeck.audit.questions._registry import register
from limbeck.audit.questions._shared import bars, of_learners
from limbeck.audit.tally import Tally, share
from limbeck.bounds import PositiveInt


@register
def mistakes(exam: Examination, *, images: PositiveInt | None = None) -> Answer:
    """Mistakes shared with the teacher, corrected for how many mistakes each makes anyway.

    Error consistency is Cohen's kappa of "right or wrong"; the rate of equal mistakes is the share of the
    teacher's mistakes that are repeated with the very same wrong class.

    Args:
        exam: networks and images.
        images: at most so many; all of the audit's unless given.

    References:
        Geirhos et al., Beyond accuracy, NeurIPS 2020 [geirhos2020beyond].
    """
    material = exam.material if images is None else exam.material.part(images)
    theirs = exam.predictions(exam.panel.teacher, material)
    wrong = theirs != material.labels
    consistent = of_learners(
        exam.panel, lambda one: consistency_tally(exam.predictions(one, material), theirs, material.labels)
    )
    repeated = of_learners(exam.panel, lambda one: share(exam.predictions(one, material) == theirs, wrong))
    count = int(wrong.sum())
    return Answer(
        (
            Evidence(
                "mistakes",
                "error_consistency",
                "Wrong on the same images, beyond chance",
                "likeness",
                consistent,
                unit="",
                chance=0.0,
                constants={"teacher_mistakes": count},
            ),
            Evidence(
                "mistakes",
                "repeated",
                "Repeats the teacher's very mistake",
                "likeness",
                repeated,
                constants={"teacher_mistakes": count},
                note=f"Over the {count:,} images that the teacher gets wrong.",
            ),
        ),
        figures={
            "repeated": bars(
                exam.panel,
                repeated,
                title="Repeats the teacher's very mistake",
                caption=f"Share of the teacher's {count:,} mistakes that a network repeats with the same class.",
            )
        },
    )


def consistency_tally(student: Tensor, teacher: Tensor, labels: Tensor) -> Tally:
    """Cohen's kappa of the indicator "right" of two networks.

    Args:
        student: predicted classes, shape (n,).
        teacher: predicted classes, shape (n,).
        labels: shape (n,).
    """
    mine, theirs = student == labels, teacher == labels
    columns = torch.stack([torch.ones(len(labels)), mine == theirs, mine, theirs], dim=1).double()

    def kappa(sums: Tensor) -> Tensor:
        agreed, right, their_right = (sums[..., i] / sums[..., 0] for i in (1, 2, 3))
        expected = right * their_right + (1 - right) * (1 - their_right)
        return (agreed - expected) / (1 - expected)

    return Tally(columns, kappa)
