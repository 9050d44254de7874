"""Do student and teacher react to the same pixels?"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.audit.attribution.pixel_gradients import input_gradients
from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.examination import Examination, Material
from limbeck.audit.questions._registry import register
from limbeck.audit.subjects import Subject
from limbeck.audit.tally import share
from limbeck.bounds import PositiveInt

_PART = 64


@register
def gradients(exam: Examination, *, images: PositiveInt = 500) -> Answer:
    """Cosine of the gradients of the label's log probability with respect to the pixels.

    Args:
        exam: networks and images.
        images: at most so many.

    References:
        [ojha2023knowledge] explains transferred adversarial images by it; the cosine is Limbeck's own measure.
    """
    material = exam.material.part(images)
    teacher = _gradients(exam, exam.panel.teacher, material)
    own, other = {}, {}
    for one in exam.panel.learners:  # two networks' gradients at a time: each is as large as the images
        mine = _gradients(exam, one, material)
        own[one.name] = share(_cosine(teacher, mine))
        other[one.name] = share(_cosine(teacher.roll(1, dims=0), mine))
    return Answer(
        (
            Evidence(
                "gradients",
                "cosine",
                "Reacts to the same pixels",
                "likeness",
                own,
                unit="",
                specificity=other,
                specificity_note="the teacher's gradient of another image",
                chance=0.0,
            ),
        )
    )


def _gradients(exam: Examination, one: Subject, material: Material) -> Tensor:
    return torch.cat(
        [
            input_gradients(one.network, images, labels, score="log_probability").flatten(1).cpu()
            for images, labels, _ in exam.batches(material)
        ]
    )


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    found = []
    for a, b in zip(first.split(_PART), second.split(_PART), strict=True):
        a, b = a.double(), b.double()
        found.append(
            (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))
        )  # zero over zero is NaN: counts for none
    return torch.cat(found)
