"""Does the student look where the teacher looks?"""

from __future__ import annotations

import statistics
from typing import Literal

import torch
from torch import Tensor

from limbeck.audit.attribution._registry import ATTRIBUTIONS
from limbeck.audit.attribution.display import display
from limbeck.audit.attribution.layers import map_layer
from limbeck.audit.attribution.similarity import counted_in_all, map_cosine, wins
from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.examination import Examination, Material
from limbeck.audit.picture import grid, heat
from limbeck.audit.questions._registry import register
from limbeck.audit.questions._shared import representatives
from limbeck.audit.subjects import Subject
from limbeck.audit.tally import Tally, share
from limbeck.bounds import NonNegativeInt, PositiveInt
from limbeck.errors import DataError

READS_A_MAP = ("grad_cam", "grad_cam_pp", "hires_cam", "layer_cam")
"""Attributions that read a layer; the others read pixels or attention."""
_ANOTHER_SEED = "control (another seed)"


@register
def localisation(
    exam: Examination,
    *,
    attribution: Literal[
        "grad_cam",
        "grad_cam_pp",
        "hires_cam",
        "layer_cam",
        "input_gradient",
        "gradient_times_input",
        "attention_rollout",
        "integrated_gradients",
        "occlusion",
    ] = "grad_cam",
    of: Literal["label", "prediction"] = "label",
    images: PositiveInt = 500,
    pictures: NonNegativeInt = 6,
) -> Answer:
    """Cosine between the student's and the teacher's maps of the same image, and how often it beats the control.

    The control of specificity is the teacher's map of another image: maps of a data set are alike anyhow, since
    objects stand in the middle. Images for which any network's map is zero everywhere count for none.

    Args:
        exam: networks and images.
        attribution: what makes the maps; the paper's is Grad-CAM.
        of: class that maps are about: the label, as in the paper, or each network's own prediction.
        images: at most so many; the paper takes 5,000.
        pictures: images shown with their maps.

    Raises:
        DataError: no image has a map in all networks.
        TapError: a layer that does not exist, or networks without maps.

    References:
        [ojha2023knowledge], section 4.1.
    """
    material = exam.material.part(images)
    maps = {one.name: _maps(exam, one, material, attribution, of) for one in exam.panel}
    teacher = maps[exam.panel.teacher.name]
    learners = exam.panel.learners
    names = [one.name for one in learners]
    found = counted_in_all(*(map_cosine(teacher, maps[name]) for name in names))
    cosines = dict(zip(names, found, strict=True))
    counted = int((~found[0].isnan()).sum())
    if counted == 0:
        raise DataError(
            f"audit: with {attribution} no image of {material.name} has a map that is not zero everywhere in all "
            "networks. Ask about of: prediction, or name other layers."
        )
    elsewhere = dict(
        zip(
            names,
            counted_in_all(*(map_cosine(teacher.roll(1, dims=0), maps[name]) for name in names)),
            strict=True,
        )
    )
    right = torch.stack([exam.predictions(one, exam.material)[: len(material)] for one in exam.panel])
    all_right = (right == material.labels).all(dim=0)
    constants = {
        "attribution": attribution,
        "of": of,
        "counted": counted,
        "left_out": len(material) - counted,
        "layers": {one.name: one.layer or "found" for one in exam.panel},
    }
    evidence = [
        Evidence(
            "localisation",
            "cosine",
            "Looks where the teacher looks",
            "likeness",
            {name: share(values) for name, values in cosines.items()},
            unit="",
            specificity={name: share(values) for name, values in elsewhere.items()},
            specificity_note="the teacher's map of another image",
            constants=constants,
            note=f"Mean cosine of {attribution.replace('_', ' ')} maps on {counted:,} images; "
            f"{len(material) - counted} "
            "were left out because a map was zero everywhere.",
        ),
        Evidence(
            "localisation",
            "cosine_all_right",
            "The same, on images that all networks get right",
            "likeness",
            {name: share(values, all_right) for name, values in cosines.items()},
            unit="",
            primary=False,
        ),
    ]
    return Answer(
        tuple(evidence),
        tables={"wins": _wins_table(exam, cosines)} if exam.panel.controls else {},
        pictures=_pictures(exam, material, maps, min(pictures, len(material))),
        numbers={"win_rate": _win_rates(exam, cosines)} if exam.panel.controls else {},
    )


def _maps(exam: Examination, one: Subject, material: Material, attribution: str, of: str) -> Tensor:
    make, settings = ATTRIBUTIONS[attribution], {}
    if attribution in READS_A_MAP:
        example = material.images[:1].to(exam.device).float() / 255
        settings["layer"] = one.layer or map_layer(one.network, example)  # found once, not for every batch
    parts = []
    for images, labels, rows in exam.batches(material):
        targets = labels if of == "label" else exam.predictions(one, exam.material)[rows].to(labels)
        parts.append(make(one.network, images, targets, **settings).detach().cpu())
    return torch.cat(parts)


def win_tally(student: Tensor, control: Tensor) -> Tally:
    """How often the student is the closer one; ties count one half.

    Args:
        student: likeness to the teacher, shape (n,).
        control: the same of the control.
    """
    return share(wins(student, control))


def _pairs(exam: Examination) -> dict[str, list[tuple[Subject, Subject]]]:
    """Method -> students with the control of their seed, or with the first; controls with each other too."""
    controls = exam.panel.controls
    by_seed = {control.seed: control for control in controls}
    found: dict[str, list[tuple[Subject, Subject]]] = {}
    for student in (*exam.panel.students, *exam.panel.placebos):
        found.setdefault(student.method, []).append((student, by_seed.get(student.seed, controls[0])))
    if len(controls) > 1:
        found = {
            _ANOTHER_SEED: list(zip(controls[1:], controls[:-1], strict=True)),
            **found,
        }
    return found


def _win_rates(exam: Examination, cosines: dict[str, Tensor]) -> dict[str, float]:
    return {
        method: statistics.fmean(win_tally(cosines[a.name], cosines[b.name]).value for a, b in pairs)
        for method, pairs in _pairs(exam).items()
        if method != _ANOTHER_SEED
    }


def _wins_table(exam: Examination, cosines: dict[str, Tensor]) -> dict[str, object]:
    rows = []
    for method, pairs in _pairs(exam).items():
        rates = [win_tally(cosines[a.name], cosines[b.name]).value for a, b in pairs]
        rows.append(
            {
                "method": method,
                "rate": statistics.fmean(rates),
                "rate_sd": statistics.stdev(rates) if len(rates) > 1 else None,
                "cosine": statistics.fmean(share(cosines[a.name]).value for a, _ in pairs),
            }
        )
    return {
        "title": "Win rate: closer to the teacher's map than the control",
        "columns": [
            {"key": "method", "label": "Method"},
            {"key": "rate", "label": "Win rate", "unit": "fraction", "better": "higher"},
            {"key": "rate_sd", "label": "± sd", "unit": "fraction"},
            {"key": "cosine", "label": "Mean cosine"},
        ],
        "rows": rows,
        "note": "50 % means that nothing was transferred; controls of another seed have to be near it.",
    }


def _pictures(
    exam: Examination, material: Material, maps: dict[str, Tensor], count: int
) -> dict[str, tuple[bytes, str, str]]:
    if count == 0:
        return {}
    shown = representatives(exam.panel)
    images = material.images[:count].float() / 255
    rows = [list(images)]
    for one in shown:
        large = display(maps[one.name][:count], (images.shape[2], images.shape[3]))
        rows.append([heat(image, values) for image, values in zip(images, large, strict=True)])
    names = ["image", *(one.method or one.name for one in shown)]
    columns = [material.class_names[int(label)] for label in material.labels[:count]]
    return {
        "maps": (
            grid(rows, row_names=names, column_names=columns),
            "Where the networks look",
            "Each map between its smallest and largest value; about the class above the column.",
        )
    }
