"""Did the student inherit whom the teacher treats unfairly?"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.examination import Examination
from limbeck.audit.questions._registry import register
from limbeck.audit.questions._shared import method_means, of_everyone
from limbeck.audit.questions.classes import part_columns
from limbeck.audit.tally import Tally
from limbeck.bounds import PositiveInt
from limbeck.errors import DataError


@register
def bias(exam: Examination, *, images: PositiveInt | None = None, smallest: PositiveInt = 10) -> Answer:
    """Accuracy in each group, the gap between the best and the worst, and who gains from the teacher.

    The images bring their groups (`group_column` of a Parquet set, or a joined source); a bias is inherited
    where the gap of the students is wider than that of the controls. Section 5.2 of the paper.

    Args:
        exam: networks and images with groups.
        images: at most so many; all of the audit's unless given.
        smallest: groups of fewer images are left out, and named.

    Raises:
        DataError: images without groups, or fewer than two groups that are large enough.

    References:
        [ojha2023knowledge], section 5.2.
    """
    material = exam.material if images is None else exam.material.part(images)
    if material.groups is None:
        raise DataError(
            f"audit: the question 'bias' needs groups, and {material.name} has none. Give the source a "
            "group_column, or join one source for each group."
        )
    names = material.group_names
    counts = torch.bincount(material.groups, minlength=len(names))
    kept = counts >= smallest
    if int(kept.sum()) < 2:
        listed = ", ".join(f"{name}: {int(count)}" for name, count in zip(names, counts, strict=True))
        raise DataError(
            f"audit: the question 'bias' compares groups of at least {smallest} images, and {material.name} has "
            f"{listed}. Give more images, or say smallest."
        )
    groups = material.groups
    columns = {one.name: part_columns(exam, one, groups, len(names)) for one in exam.panel}
    shares = {name: _shares(found.sum(dim=0), kept) for name, found in columns.items()}
    gap = of_everyone(exam.panel, lambda one: Tally(columns[one.name], lambda sums: _gap(_shares(sums, kept))))
    worst = of_everyone(
        exam.panel, lambda one: Tally(columns[one.name], lambda sums: _shares(sums, kept).amin(dim=-1))
    )
    teacher = shares[exam.panel.teacher.name]
    drops = {n: float((teacher - own).max()) for n, own in shares.items() if n != exam.panel.teacher.name}
    chosen = [name for name, keep in zip(names, kept.tolist(), strict=True) if keep]
    left_out = [name for name, keep in zip(names, kept.tolist(), strict=True) if not keep]
    note = f" Left out, with fewer than {smallest} images: {', '.join(left_out)}." if left_out else ""
    return Answer(
        (
            Evidence(
                "bias",
                "gap",
                "Gap between the best and the worst group",
                "trait",
                gap,
                better="lower",
                constants={"groups": dict(zip(chosen, counts[kept].tolist(), strict=True))},
                note="A wider gap than the control's, towards a teacher's wider one, is an inherited bias." + note,
            ),
            Evidence(
                "bias", "worst", "Accuracy in the worst group", "trait", worst, better="higher", primary=False
            ),
        ),
        tables={"groups": _table(exam, chosen, counts[kept].tolist(), shares)},
        figures={"groups": _figure(exam, chosen, shares)},
        numbers={
            "worst_group_drop": method_means(exam.panel, drops),
            "gain_correlation": _gain_correlation(exam, shares),
            **{
                f"accuracy_{name}": method_means(exam.panel, {one: float(own[at]) for one, own in shares.items()})
                for at, name in enumerate(chosen)
            },
        },
    )


def _shares(sums: Tensor, kept: Tensor) -> Tensor:
    count = len(kept)
    return (sums[..., :count] / sums[..., count:])[..., kept]


def _gap(shares: Tensor) -> Tensor:
    return shares.amax(dim=-1) - shares.amin(dim=-1)


def _mean_of(exam: Examination, shares: dict[str, Tensor], method: str) -> Tensor:
    found = [shares[one.name] for one in exam.panel.learners if one.method == method]
    return torch.stack(found).mean(dim=0)


def _methods(exam: Examination) -> list[str]:
    return list(dict.fromkeys(one.method for one in exam.panel.learners))


def _gain_correlation(exam: Examination, shares: dict[str, Tensor]) -> dict[str, float]:
    """Over groups: the gain over the control against how good the teacher is there, against its mean."""
    if not exam.panel.controls:
        return {}
    control = _mean_of(exam, shares, exam.panel.controls[0].method)
    teacher = shares[exam.panel.teacher.name]
    found = {}
    for method in exam.panel.methods:
        gains = _mean_of(exam, shares, method) - control
        pair = torch.stack([gains, teacher])
        if len(gains) > 2 and bool((pair.std(dim=1) > 0).all()):
            found[method] = float(torch.corrcoef(pair)[0, 1])
    return found


def _table(exam: Examination, names: list[str], counts: list[int], shares: dict[str, Tensor]) -> dict[str, object]:
    methods = _methods(exam)
    means = {method: _mean_of(exam, shares, method) for method in methods}
    return {
        "title": "Accuracy by group",
        "columns": [
            {"key": "group", "label": "Group"},
            {"key": "images", "label": "Images", "unit": "count"},
            {"key": "teacher", "label": "teacher", "unit": "fraction"},
            *({"key": f"m{i}", "label": method, "unit": "fraction"} for i, method in enumerate(methods)),
        ],
        "rows": [
            {
                "group": name,
                "images": counts[place],
                "teacher": float(shares[exam.panel.teacher.name][place]),
                **{f"m{i}": float(means[method][place]) for i, method in enumerate(methods)},
            }
            for place, name in enumerate(names)
        ],
        "note": "Means over seeds.",
    }


def _figure(exam: Examination, names: list[str], shares: dict[str, Tensor]) -> dict[str, object]:
    rows = {"teacher": shares[exam.panel.teacher.name]}
    rows |= {method: _mean_of(exam, shares, method) for method in _methods(exam)}
    return {
        "title": "Accuracy by group",
        "caption": "Rows are networks, columns groups; means over seeds.",
        "kind": "matrix",
        "unit": "fraction",
        "full": 1.0,
        "rows": list(rows),
        "columns": names,
        "values": [[float(v) for v in found] for found in rows.values()],
    }
