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
    found = {one.name: _gradients(exam, one, material) for one in exam.panel}
    teacher = found[exam.panel.teacher.name]
    names = [one.name for one in exam.panel.learners]
    own = {name: share(_cosine(teacher, found[name])) for name in names}
    other = {name: share(_cosine(teacher.roll(1, dims=0), found[name])) for name in names}
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
    a, b = first.double(), second.double()
    lengths: Tensor = a.norm(dim=1) * b.norm(dim=1)
    return (a * b).sum(dim=1) / lengths  # zero over zero is NaN: it counts for none
