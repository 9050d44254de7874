"""When one thing in an image is changed, does the student change its mind where the teacher does?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.examination import Examination, Material
from limbeck.audit.picture import grid
from limbeck.audit.questions._registry import register
from limbeck.audit.questions.tables_of import averages
from limbeck.audit.tally import Tally, share
from limbeck.audit.transforms.interventions import INTERVENTIONS
from limbeck.bounds import PositiveInt
from limbeck.errors import ConfigError, did_you_mean
from limbeck.seeding import derive, uniforms

_TITLES = {
    "grey": "colours taken away",
    "centre": "the middle covered",
    "patch": "a patch of another image",
    "background": "the background of another image",
}
_SHOWN = 10


@register
def interventions(
    exam: Examination,
    *,
    names: Sequence[str] = ("grey", "centre", "patch", "background"),
    images: PositiveInt = 1000,
) -> Answer:
    """How the log-probability of the right class changes, image by image, for the teacher and for every student.

    The likeness is Pearson's correlation over images of the two networks' changes, mean over the interventions: it
    is high where both rely on the same things in the same images. Colours are not taken from images of one
    channel.

    Args:
        exam: the networks and the images.
        names: of grey, centre, patch, background.
        images: how many.

    Raises:
        ConfigError: an unknown intervention, or none that applies.
    """
    for name in names:
        if name not in INTERVENTIONS:
            raise ConfigError(
                f"interventions: unknown name '{name}'.{did_you_mean(name, INTERVENTIONS)} "
                f"Known: {', '.join(INTERVENTIONS)}."
            )
    material = exam.material.part(images)
    which = [n for n in dict.fromkeys(names) if n != "grey" or material.images.shape[1] == 3]
    if not which:
        raise ConfigError("interventions: none is left; images of one channel have no colours to take away.")
    changes = _changes(exam, material, which)
    teacher = changes[exam.panel.teacher.name]
    chosen = {"interventions": which, "images": len(material), "seed": exam.seed}
    evidence = [
        Evidence(
            "interventions",
            "correlation",
            "Changes its mind where the teacher does",
            "likeness",
            {one.name: correlation(teacher, changes[one.name]) for one in exam.panel.learners},
            unit="",
            margin=0.05,
            chance=0.0,
            constants=chosen,
            note="Correlation over images of the change of log p of the right class, mean over the interventions.",
        )
    ]
    for place, name in enumerate(which):
        one_only = {**chosen, "interventions": [name]}
        evidence.append(
            Evidence(
                "interventions",
                f"correlation_{name}",
                f"Changes its mind likewise: {_TITLES[name]}",
                "likeness",
                {
                    one.name: correlation(teacher[:, place : place + 1], changes[one.name][:, place : place + 1])
                    for one in exam.panel.learners
                },
                unit="",
                margin=0.05,
                primary=False,
                chance=0.0,
                constants=one_only,
            )
        )
        evidence.append(
            Evidence(
                "interventions",
                f"change_{name}",
                f"Change of log p of the right class: {_TITLES[name]}",
                "trait",
                {subject: share(values[:, place]) for subject, values in changes.items()},
                unit="nats",
                margin=0.05,
                primary=False,
                better="higher",
                constants=one_only,
            )
        )
    return Answer(
        evidence=tuple(evidence),
        tables={"interventions": _table(exam, which, changes)},
        pictures={"interventions": _picture(exam, material, which)},
    )


def correlation(first: Tensor, second: Tensor) -> Tally:
    """Pearson's correlation over images, mean over columns; NaN where either does not vary in any.

    Args:
        first: shape (n, k).
        second: shape (n, k).

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [5.0]])
        >>> round(correlation(x, 2 * x + 1).value, 6), round(correlation(x, -x).value, 6)
        (1.0, -1.0)
    """
    # About the middle, so that large sums do not swallow small differences.
    x = first.detach().cpu().to(torch.float64)
    y = second.detach().cpu().to(torch.float64)
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    columns = torch.stack([torch.ones_like(x), x, y, x * x, y * y, x * y], dim=2)
    return Tally(columns.flatten(1), _pearson)


def _pearson(sums: Tensor) -> Tensor:
    count, x, y, xx, yy, xy = sums.unflatten(-1, (-1, 6)).unbind(dim=-1)
    own, other = count * xx - x * x, count * yy - y * y
    varies = (own > 1e-9 * count * xx) & (other > 1e-9 * count * yy)
    found = (count * xy - x * y) / (own.clamp_min(0) * other.clamp_min(0)).sqrt()
    return torch.where(varies, found.clamp(-1, 1), torch.nan).nanmean(dim=-1)


def _changes(exam: Examination, material: Material, which: Sequence[str]) -> dict[str, Tensor]:
    """Change of log p of the right class, of every network, each (n, interventions)."""
    found = {subject.name: torch.zeros(len(material), len(which), dtype=torch.float64) for subject in exam.panel}
    for pictures, labels, rows in exam.batches(material):
        others = _others(exam, material, rows).to(pictures)
        right = labels.cpu()[:, None]
        before = {one.name: _log_p(exam.logits(one, material)[rows], right) for one in exam.panel}
        for place, name in enumerate(which):
            changed = INTERVENTIONS[name](pictures, rows, others, seed=derive(exam.seed, "interventions"))
            for one in exam.panel:
                found[one.name][rows, place] = _log_p(exam.logits(one, changed), right) - before[one.name]
    return found


def _log_p(logits: Tensor, right: Tensor) -> Tensor:
    return logits.double().log_softmax(dim=1).gather(1, right)[:, 0]


def _others(exam: Examination, material: Material, rows: Tensor) -> Tensor:
    """Another image for each, any but itself, as floats."""
    count = len(material)
    draw = uniforms(rows, seed=derive(exam.seed, "interventions", "others"), epoch=1, draws=1)[:, 0]
    away = 1 + (draw * max(1, count - 1)).long().clamp(max=max(0, count - 2))
    return material.images[(rows + away) % count].float() / 255


def _table(exam: Examination, which: Sequence[str], changes: dict[str, Tensor]) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(which):
        means = {subject: values[:, place].mean().item() for subject, values in changes.items()}
        for label, value in averages(exam.panel, means).items():
            rows.setdefault(label, {"network": label})[name] = value
    return {
        "title": "Mean change of log p of the right class (nats)",
        "columns": [
            {"key": "network", "label": "Network"},
            *({"key": name, "label": _TITLES[name].capitalize()} for name in which),
        ],
        "rows": list(rows.values()),
    }


def _picture(exam: Examination, material: Material, which: Sequence[str]) -> tuple[bytes, str, str]:
    rows = torch.arange(min(_SHOWN, len(material)))
    pictures, others = material.images[rows].float() / 255, _others(exam, material, rows)
    seed = derive(exam.seed, "interventions")
    shown = [pictures, *(INTERVENTIONS[name](pictures, rows, others, seed=seed) for name in which)]
    png = grid([list(row) for row in shown], row_names=["image", *which])
    return png, "Interventions", f"The images, then: {', '.join(_TITLES[name] for name in which)}."
