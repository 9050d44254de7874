"""Which classes paid for the student's size?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.examination import Examination
from limbeck.audit.questions._registry import register
from limbeck.audit.questions._shared import method_means, of_everyone
from limbeck.audit.subjects import Subject
from limbeck.audit.tally import Tally
from limbeck.bounds import PositiveInt

SHOWN = 30
"""Classes in the table: those that lost most."""


@register
def classes(exam: Examination, *, images: PositiveInt | None = None) -> Answer:
    """Accuracy on each class: which ones the students lose against the teacher and gain over the controls.

    The evidence is in the profile: whether a student's strong and weak classes are more like the teacher's than a
    control's are (correlation over classes of the accuracies).

    Args:
        exam: networks and images.
        images: at most so many; all of the audit's unless given.
    """
    material = exam.material if images is None else exam.material.part(images)
    names, labels = material.class_names, material.labels
    present = torch.bincount(labels, minlength=len(names)) > 0
    columns = {one.name: part_columns(exam, one, labels, len(names)) for one in exam.panel}
    teacher = columns[exam.panel.teacher.name]
    profiles = {
        one.name: Tally(torch.cat([columns[one.name], teacher[:, : len(names)]], dim=1), _profile(present))
        for one in exam.panel.learners
    }
    accuracies = {name: _accuracies(found.sum(dim=0), len(names)) for name, found in columns.items()}
    drops = {
        name: float((accuracies[exam.panel.teacher.name] - own)[present].max())
        for name, own in accuracies.items()
        if name != exam.panel.teacher.name
    }
    worst = of_everyone(exam.panel, lambda one: Tally(columns[one.name], _worst(present)))
    return Answer(
        (
            Evidence(
                "classes",
                "profile",
                "Strong and weak on the teacher's classes",
                "likeness",
                profiles,
                unit="",
                margin=0.05,
                note=f"Correlation over {int(present.sum())} classes of the accuracies on each.",
            ),
            Evidence(
                "classes",
                "worst",
                "Accuracy on the worst class",
                "trait",
                worst,
                better="higher",
                primary=False,
            ),
        ),
        tables={"classes": _table(exam, names, accuracies, torch.bincount(labels, minlength=len(names)))},
        numbers={"worst_class_drop": method_means(exam.panel, drops)},
    )


def part_columns(exam: Examination, one: Subject, parts: Tensor, count: int) -> Tensor:
    """Right answers in each part of the images, then images in each part; shape (n, 2 * count), float64.

    Args:
        exam: networks and images.
        one: whose answers.
        parts: number of the part of each image, shape (n,): its class or group.
        count: of parts.
    """
    material = exam.material.part(len(parts))
    right = exam.predictions(one, exam.material)[: len(parts)] == material.labels
    member = torch.nn.functional.one_hot(parts, count).double()
    return torch.cat([member * right.double()[:, None], member], dim=1)


def _accuracies(sums: Tensor, count: int) -> Tensor:
    return sums[..., :count] / sums[..., count : 2 * count]


def _worst(present: Tensor) -> Callable[[Tensor], Tensor]:
    def worst(sums: Tensor) -> Tensor:
        return _accuracies(sums, len(present))[..., present].nan_to_num(nan=1.0).amin(dim=-1)

    return worst


def _profile(present: Tensor) -> Callable[[Tensor], Tensor]:
    count = len(present)

    def correlation(sums: Tensor) -> Tensor:
        # A class that a draw leaves out would be alike in all networks: it does not count there.
        images = sums[..., count : 2 * count][..., present]
        drawn = (images > 0).to(images)

        def centred(right: Tensor) -> Tensor:
            shares = right[..., present] / images.clamp_min(1)
            return (shares - (shares * drawn).sum(-1, keepdim=True) / drawn.sum(-1, keepdim=True)) * drawn

        mine, theirs = centred(sums[..., :count]), centred(sums[..., 2 * count :])
        found: Tensor = (mine * theirs).sum(-1) / (mine.square().sum(-1) * theirs.square().sum(-1)).sqrt()
        return found

    return correlation


def _table(
    exam: Examination, names: Sequence[str], accuracies: dict[str, Tensor], counts: Tensor
) -> dict[str, object]:
    teacher, present = accuracies[exam.panel.teacher.name], counts > 0
    methods: dict[str, list[Tensor]] = {}
    for one in exam.panel.learners:
        methods.setdefault(one.method, []).append(accuracies[one.name])
    means = {method: torch.stack(found).mean(dim=0) for method, found in methods.items()}
    students = torch.stack([means[method] for method in exam.panel.methods]).mean(dim=0)
    order = (students - teacher).masked_fill(~present, torch.inf).argsort().tolist()
    shown = [place for place in order if present[place]][:SHOWN]
    return {
        "title": "Accuracy by class" + (f" (the {SHOWN} that lost most)" if int(present.sum()) > SHOWN else ""),
        "columns": [
            {"key": "class", "label": "Class"},
            {"key": "images", "label": "Images", "unit": "count"},
            {"key": "teacher", "label": "teacher", "unit": "fraction"},
            *({"key": f"m{i}", "label": method, "unit": "fraction"} for i, method in enumerate(means)),
        ],
        "rows": [
            {
                "class": names[place],
                "images": int(counts[place]),
                "teacher": float(teacher[place]),
                **{f"m{i}": float(found[place]) for i, found in enumerate(means.values())},
            }
            for place in shown
        ],
        "note": "Sorted by what the students lose against the teacher. Means over seeds.",
    }
