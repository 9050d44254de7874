"""Does the student answer as the teacher answers?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.examination import Examination
from limbeck.audit.questions._registry import register
from limbeck.audit.questions._shared import bars, of_everyone, of_learners
from limbeck.audit.subjects import Subject
from limbeck.audit.tally import Tally
from limbeck.bounds import PositiveInt
from limbeck.numerics.prediction_distances import (
    jensen_shannon,
    logit_rank_correlation,
    same_prediction,
    shared_top_k,
    teacher_kl,
    variation,
)


@register
def fidelity(exam: Examination, *, images: PositiveInt | None = None, top_k: PositiveInt = 5) -> Answer:
    """Agreement of predictions with the teacher's, right or wrong, and the distance of the probabilities.

    Two accurate networks agree through accuracy alone. Cohen's kappa beside the plain agreement corrects for how
    often each class is given, not for accuracy; the question `mistakes` does.

    Args:
        exam: networks and images.
        images: at most so many; all of the audit's unless given.
        top_k: of the overlap of the highest classes; no more than there are classes.

    References:
        [stanton2021does]; the paper's section 4.4 for consensus [ojha2023knowledge].
    """
    material = exam.material if images is None else exam.material.part(images)
    teacher = exam.logits(exam.panel.teacher, material)
    classes = teacher.shape[1]
    k = min(top_k, classes - 1)

    def against(measure: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Tally]:
        return of_learners(exam.panel, lambda one: measure(exam.logits(one, material), teacher))

    same = against(same_prediction)

    def likeness(measure: str, title: str, tallies: dict[str, Tally], **more: Any) -> Evidence:
        return Evidence("fidelity", measure, title, "likeness", tallies, **more)

    found = [
        likeness(
            "agreement",
            "Same prediction as the teacher",
            same,
            better="higher",
            chance=_expected(exam, teacher),
            note="Rises with accuracy as well; see the question mistakes.",
        ),
        likeness(
            "kappa",
            "Same prediction beyond chance (Cohen's kappa)",
            of_learners(exam.panel, lambda one: kappa_tally(exam.logits(one, material), teacher)),
            unit="",
            primary=False,
            chance=0.0,
        ),
        likeness(
            "kl",
            "KL divergence from the teacher's probabilities",
            against(teacher_kl),
            unit="nats",
            alike="lower",
            margin=0.01,
            better="lower",
        ),
        likeness(
            "js", "Jensen-Shannon divergence", against(jensen_shannon), unit="nats", alike="lower", primary=False
        ),
        likeness(
            "total_variation",
            "Total variation",
            against(variation),
            alike="lower",
            primary=False,
        ),
        likeness(
            "rank_correlation",
            "Rank correlation of the logits",
            against(logit_rank_correlation),
            unit="",
            primary=False,
        ),
    ]
    if k > 1:
        overlap = of_learners(exam.panel, lambda one: shared_top_k(exam.logits(one, material), teacher, k=k))
        found.append(
            likeness(f"top{k}", f"Overlap of the {k} highest classes", overlap, primary=False, chance=k / classes)
        )
    right = of_everyone(exam.panel, lambda one: _right(exam, one, material.labels))
    found.append(
        Evidence(
            "fidelity",
            "accuracy",
            "Accuracy",
            "trait",
            right,
            margin=0.01,
            better="higher",
            primary=False,
            note="Beside everything else: what is alike because it is right is no likeness of its own.",
        )
    )
    return Answer(
        tuple(found),
        figures={
            "agreement": bars(
                exam.panel,
                same,
                title="Same prediction as the teacher",
                caption=f"Share of {len(material):,} images; bars are means over seeds, dots single students.",
            )
        },
    )


def _right(exam: Examination, one: Subject, labels: Tensor) -> Tensor:
    return (exam.predictions(one, exam.material)[: len(labels)] == labels).double()


def _expected(exam: Examination, teacher: Tensor) -> float:
    """Agreement of somebody who answers as often with each class, without looking."""
    shares = torch.bincount(teacher.argmax(dim=1), minlength=teacher.shape[1]).double() / len(teacher)
    return shares.square().sum().item()


def kappa_tally(student: Tensor, teacher: Tensor) -> Tally:
    """Cohen's kappa of two networks' predictions, from how often each of them gives each answer.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes).
    """
    classes = student.shape[1]
    mine, theirs = student.argmax(dim=1), teacher.argmax(dim=1)
    ones = torch.ones(len(mine), 1, dtype=torch.float64)
    columns = torch.cat(
        [
            ones,
            (mine == theirs).double()[:, None],
            torch.nn.functional.one_hot(mine, classes).double(),
            torch.nn.functional.one_hot(theirs, classes).double(),
        ],
        dim=1,
    )

    def kappa(sums: Tensor) -> Tensor:
        count = sums[..., 0]
        agreed = sums[..., 1] / count
        expected = (sums[..., 2 : 2 + classes] * sums[..., 2 + classes :]).sum(dim=-1) / count**2
        return (agreed - expected) / (1 - expected)

    return Tally(columns, kappa)
