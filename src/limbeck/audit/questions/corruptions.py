"""Does a student fail where its teacher fails when pictures are noisy, blurred, snowed over or compressed?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.audit.corruptions import CORRUPTIONS, STANDARD
from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.examination import Examination, Material
from limbeck.audit.picture import grid
from limbeck.audit.questions._registry import register
from limbeck.audit.questions._shared import method_means
from limbeck.audit.questions.tables_of import averages, curves
from limbeck.audit.tally import share
from limbeck.bounds import PositiveInt
from limbeck.errors import ConfigError
from limbeck.seeding import derive

_SHOWN = 8


@register
def corruptions(
    exam: Examination,
    *,
    names: Sequence[str] | None = None,
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    images: PositiveInt = 250,
) -> Answer:
    """Accuracy and agreement with the teacher on corrupted images.

    The agreement tells a student that is robust from one that is robust in its teacher's way. The mean corruption
    error (mCE) is taken relative to the controls' mean here, where the published one is relative to AlexNet.

    Args:
        exam: the networks and the images.
        names: which corruptions; none given, the fifteen of the published benchmark.
        severities: of 1 to 5.
        images: how many, each shown once for each corruption and severity.

    Raises:
        ConfigError: an unknown severity, or none.
        UnknownNameError: an unknown corruption.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    which = tuple(dict.fromkeys(STANDARD if names is None else names))
    degrees = sorted(set(severities))
    if not which or not degrees or not set(degrees) <= {1, 2, 3, 4, 5}:
        raise ConfigError(
            f"corruptions: names must not be empty and severities are of 1 to 5; got {list(severities)}."
        )
    material = exam.material.part(images)
    said = _said(exam, material, which, degrees)
    right = {name: (found == material.labels[None, None].cpu()).double() for name, found in said.items()}
    clean = {
        one.name: (exam.predictions(one, material) == material.labels.cpu()).double().mean().item()
        for one in exam.panel
    }
    teacher = said[exam.panel.teacher.name]
    alike = {one.name: (said[one.name] == teacher).double() for one in exam.panel.learners}
    chosen = {"corruptions": list(which), "severities": degrees, "images": len(material), "seed": exam.seed}
    evidence = [
        Evidence(
            "corruptions",
            "agreement",
            "Predicts what the teacher predicts on corrupted images",
            "likeness",
            {name: share(values.mean(dim=(0, 1))) for name, values in alike.items()},
            constants=chosen,
            note="Rises with accuracy too; compare with the accuracy below.",
        ),
        Evidence(
            "corruptions",
            "accuracy",
            "Accuracy on corrupted images",
            "trait",
            {name: share(values.mean(dim=(0, 1))) for name, values in right.items()},
            better="higher",
            constants=chosen,
        ),
    ]
    for place, name in enumerate(which):
        evidence.append(
            Evidence(
                "corruptions",
                f"accuracy_{name}",
                f"Accuracy under {_words(name)}",
                "trait",
                {one: share(values[place].mean(dim=0)) for one, values in right.items()},
                primary=False,
                better="higher",
                constants={**chosen, "corruptions": [name]},
            )
        )
    errors = {name: 1 - values.mean(dim=2) for name, values in right.items()}
    relative = _relative(exam, errors)
    known = {name: value for name, value in relative.items() if value is not None}
    by_severity = [
        {name: 1 - values[:, at].mean().item() for name, values in errors.items()} for at in range(len(degrees))
    ]
    like_by_severity = [
        {name: values[:, at].mean().item() for name, values in alike.items()} for at in range(len(degrees))
    ]
    figures = {}
    if len(degrees) > 1:
        figures = {
            "accuracy_by_severity": _figure(
                exam, degrees, by_severity, "Accuracy on corrupted images", "accuracy"
            ),
            "agreement_by_severity": _figure(
                exam, degrees, like_by_severity, "Agreement with the teacher on corrupted images", "agreement"
            ),
        }
    return Answer(
        evidence=tuple(evidence),
        tables={"corruptions": _table(exam, which, right, alike, relative)},
        figures=figures,
        pictures={"corruptions": _picture(exam, material, which, degrees)},
        numbers={
            "clean_accuracy": method_means(exam.panel, clean),
            "mce": method_means(exam.panel, known),
            "mce_reference": "mean of the controls",
        },
    )


def _said(
    exam: Examination, material: Material, which: Sequence[str], severities: Sequence[int]
) -> dict[str, Tensor]:
    """Predictions of every network, each (corruptions, severities, n)."""
    shape = (len(which), len(severities), len(material))
    found = {subject.name: torch.empty(shape, dtype=torch.int64) for subject in exam.panel}
    seed = derive(exam.seed, "corruptions")
    for place, name in enumerate(which):
        exam.note(f"corruptions: {_words(name)}")
        corrupt = CORRUPTIONS[name]
        for at, severity in enumerate(severities):
            for pictures, _, rows in exam.batches(material):
                changed = corrupt(pictures, rows, severity=severity, seed=seed)
                for subject in exam.panel:
                    found[subject.name][place, at, rows] = exam.predictions(subject, changed)
    return found


def _relative(exam: Examination, errors: Mapping[str, Tensor]) -> dict[str, float | None]:
    """The mCE of every network: summed errors over the controls' mean, averaged over corruptions.

    None without controls, or where the controls make no error under some corruption.
    """
    if not exam.panel.controls:
        return {}
    reference = torch.stack([errors[one.name] for one in exam.panel.controls]).mean(dim=0).sum(dim=1)
    if not bool((reference > 0).all()):
        return dict.fromkeys(errors)
    return {name: (values.sum(dim=1) / reference).mean().item() for name, values in errors.items()}


def _table(
    exam: Examination,
    which: Sequence[str],
    right: Mapping[str, Tensor],
    alike: Mapping[str, Tensor],
    relative: Mapping[str, float | None],
) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {}
    known = {name: value for name, value in relative.items() if value is not None}
    columns: list[dict[str, Any]] = [{"key": "network", "label": "Network"}]
    columns += [{"key": "mce", "label": "mCE (controls: 1)", "better": "lower"}] if known else []
    columns += [
        {"key": "accuracy", "label": "Accuracy", "unit": "fraction", "better": "higher"},
        {"key": "agreement", "label": "Agreement", "unit": "fraction"},
    ]
    columns += [{"key": name, "label": _words(name).capitalize(), "unit": "fraction"} for name in which]
    numbers = {"mce": known, "accuracy": {n: v.mean().item() for n, v in right.items()}}
    numbers["agreement"] = {n: v.mean().item() for n, v in alike.items()}
    numbers |= {name: {n: v[at].mean().item() for n, v in right.items()} for at, name in enumerate(which)}
    for key, values in numbers.items():
        for label, value in averages(exam.panel, values).items():
            rows.setdefault(label, {"network": label})[key] = value
    return {
        "title": "Corrupted images: accuracy under each corruption, means over severities and seeds",
        "columns": columns,
        "rows": list(rows.values()),
    }


def _figure(
    exam: Examination, severities: Sequence[int], values: Sequence[Mapping[str, float]], title: str, label: str
) -> dict[str, Any]:
    return {
        "title": title,
        "caption": "Mean over the corruptions; students are means over seeds.",
        "kind": "lines",
        "x_label": "severity",
        "y_label": label,
        "unit": "fraction",
        "series": curves(exam.panel, severities, values),
    }


def _picture(
    exam: Examination, material: Material, which: Sequence[str], severities: Sequence[int]
) -> tuple[bytes, str, str]:
    few = material.part(_SHOWN)
    pictures = few.images.float() / 255
    middle = severities[len(severities) // 2]
    index, seed = torch.arange(len(few)), derive(exam.seed, "corruptions")
    rows = [pictures, *(CORRUPTIONS[name](pictures, index, severity=middle, seed=seed) for name in which)]
    names = ["image", *(_words(name) for name in which)]
    png = grid([list(row) for row in rows], row_names=names)
    return png, "Corrupted images", f"Above the images, below them what the networks saw at severity {middle}."


def _words(name: str) -> str:
    return name.replace("_", " ").replace("jpeg", "JPEG")
