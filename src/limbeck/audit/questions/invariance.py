"""Does a student keep its mind under the changes that leave its teacher unmoved?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.examination import Examination, Material
from limbeck.audit.picture import grid
from limbeck.audit.questions._registry import register
from limbeck.audit.questions.tables_of import curves
from limbeck.audit.tally import Tally, share
from limbeck.audit.transforms.colour import colour_change
from limbeck.audit.transforms.crops import crop_pair
from limbeck.audit.transforms.rotation import rotated
from limbeck.audit.transforms.scaling import scaled
from limbeck.audit.transforms.shifts import shift_pair
from limbeck.bounds import Fraction, PositiveInt
from limbeck.errors import ConfigError
from limbeck.seeding import derive

Views = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]
_SHOWN = 10


@register
def colour(
    exam: Examination,
    *,
    strengths: Sequence[float] = (0.2, 0.3, 0.4, 0.5, 0.6),
    at: float = 0.4,
    hue: Fraction = 0.2,
    images: PositiveInt = 2000,
) -> Answer:
    """Whether predictions stay when the colours change, beside the paper's numbers for strengths 0.3 to 0.6.

    Brightness, contrast and saturation change by factors from 1 - s to 1 + s; the hue by as much at every
    strength.

    Args:
        exam: the networks and the images.
        strengths: of the change; the paper's (section 4.3).
        at: the strength whose agreement gets a verdict; 0.4 is how the paper's teacher was trained.
        hue: turn of the colours, as a share of the circle; not changed with the strength, and 0 at strength 0.
        images: how many.

    References:
        Ojha et al., NeurIPS 2023, section 4.3 [ojha2023knowledge].
    """
    seed = derive(exam.seed, "colour")

    def views(pictures: Tensor, index: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        turn = hue if strength else 0.0
        return pictures, colour_change(pictures, index, seed=seed, strength=strength, hue=turn)

    return _agreements(
        exam,
        "colour",
        "Keeps its prediction when colours change",
        "strength of the change",
        strengths,
        at,
        images,
        views,
        {"hue": hue, "factors": "1 - s to 1 + s", "order": "random"},
    )


@register
def crops(
    exam: Examination,
    *,
    areas: Sequence[float] = (0.3, 0.4, 0.5, 0.6),
    at: float = 0.4,
    images: PositiveInt = 2000,
) -> Answer:
    """Whether two parts of an image, of the same size each, are taken for the same class.

    Args:
        exam: the networks and the images.
        areas: share of the image that each part covers; the paper's (section 11.3).
        at: the area whose agreement gets a verdict.
        images: how many.

    References:
        Ojha et al., NeurIPS 2023, section 11.3 [ojha2023knowledge].
    """
    seed = derive(exam.seed, "crops")
    return _agreements(
        exam,
        "crops",
        "Predicts the same for two parts of an image",
        "share of the image",
        areas,
        at,
        images,
        lambda pictures, index, area: crop_pair(pictures, index, seed=seed, area=area),
        {"aspect": "3/4 to 4/3 of the image's", "resized": "to the image's size, bilinear"},
    )


@register
def shifts(
    exam: Examination,
    *,
    shares: Sequence[float] = (0.04, 0.07, 0.11, 0.15),
    at: float = 0.11,
    images: PositiveInt = 2000,
) -> Answer:
    """Whether two windows a few pixels apart are taken for the same class.

    Args:
        exam: the networks and the images.
        shares: largest shift as a share of the image's smaller side, brought to whole pixels, at least one above
            0; the paper's 8, 16, 24 and 32 of 224 pixels (section 11.4).
        at: the shift whose agreement gets a verdict.
        images: how many.

    References:
        Ojha et al., NeurIPS 2023, section 11.4 [ojha2023knowledge].
    """
    seed, side = derive(exam.seed, "shifts"), min(exam.material.images.shape[2:])
    pixels = {one: max(1, round(one * side)) if one > 0 else 0 for one in shares}
    return _agreements(
        exam,
        "shifts",
        "Predicts the same after a shift",
        "largest shift, share of the side",
        shares,
        at,
        images,
        lambda pictures, index, one: shift_pair(pictures, index, seed=seed, pixels=pixels[one]),
        {"pixels": [pixels[one] for one in shares], "border": "mirror image"},
    )


@register
def rotation(
    exam: Examination,
    *,
    degrees: Sequence[float] = (10, 20, 30),
    at: float = 20,
    images: PositiveInt = 2000,
) -> Answer:
    """Whether predictions stay when an image is turned.

    Args:
        exam: the networks and the images.
        degrees: how far, to the left or to the right; 10 is seen in photographs, 30 is rare there.
        at: the angle whose agreement gets a verdict.
        images: how many.
    """
    seed = derive(exam.seed, "rotation")
    return _agreements(
        exam,
        "rotation",
        "Keeps its prediction when turned",
        "angle in degrees",
        degrees,
        at,
        images,
        lambda pictures, index, angle: (pictures, rotated(pictures, index, seed=seed, degrees=angle)),
        {"border": "mirror image", "direction": "random"},
    )


@register
def scale(
    exam: Examination,
    *,
    factors: Sequence[float] = (0.6, 0.7, 0.8, 1.25, 1.5),
    at: float = 0.7,
    images: PositiveInt = 2000,
) -> Answer:
    """Whether predictions stay when an image is seen from nearer or farther.

    Args:
        exam: the networks and the images.
        factors: above 1 nearer, below 1 farther with the mirror image around; at least 0.5.
        at: the factor whose agreement gets a verdict.
        images: how many.
    """
    return _agreements(
        exam,
        "scale",
        "Keeps its prediction from nearer and farther",
        "factor",
        factors,
        at,
        images,
        lambda pictures, index, factor: (pictures, scaled(pictures, index, seed=0, factor=factor)),
        {"border": "mirror image"},
    )


def _agreements(
    exam: Examination,
    question: str,
    title: str,
    axis: str,
    strengths: Sequence[float],
    at: float,
    images: int,
    views: Views,
    constants: Mapping[str, Any],
) -> Answer:
    if not strengths:
        raise ConfigError(f"{question}: at least one strength is needed.")
    strengths = sorted(set(strengths))
    main = min(strengths, key=lambda one: abs(one - at))
    material = exam.material.part(images)
    said = {}
    for strength in strengths:
        exam.note(f"{question}: {axis} {strength:g}")
        said[strength] = _said(exam, material, views, strength)
    chosen = {**constants, "images": len(material), "seed": exam.seed}
    evidence = [
        _own(exam, question, title, said[one], one, one == main, {**chosen, "strength": one})
        for one in sorted(strengths, key=lambda one: one != main)
    ]
    evidence += [_consensus(exam, question, said[main], main, {**chosen, "strength": main})]
    values = [{name: tally.value for name, tally in _kept(said[one]).items()} for one in strengths]
    answer: dict[str, Any] = {
        "evidence": tuple(evidence),
        "pictures": {question: _picture(exam, material, strengths, views, title, axis)},
    }
    if len(strengths) > 1:
        answer["figures"] = {
            question: {
                "title": title,
                "caption": "Share of images on which a network agrees with itself; students are means over seeds.",
                "kind": "lines",
                "x_label": axis,
                "y_label": "agreement",
                "unit": "fraction",
                "series": curves(exam.panel, strengths, values),
            }
        }
    return Answer(**answer)


def _said(
    exam: Examination, material: Material, views: Views, strength: float
) -> dict[str, tuple[Tensor, Tensor]]:
    """Predictions of every network for both views, each (n,); no more than a batch of images is held at a time."""
    found: dict[str, list[tuple[Tensor, Tensor]]] = {subject.name: [] for subject in exam.panel}
    for pictures, _, rows in exam.batches(material):
        first, second = views(pictures, rows, strength)
        for subject in exam.panel:
            # The images as they are were already shown for other strengths.
            known = exam.predictions(subject, material)[rows] if first is pictures else None
            before = exam.predictions(subject, first) if known is None else known
            after = before if second is pictures else exam.predictions(subject, second)
            found[subject.name].append((before, after))
    return {
        name: (torch.cat([a for a, _ in parts]), torch.cat([b for _, b in parts])) for name, parts in found.items()
    }


def _kept(said: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tally]:
    return {name: share((before == after).double()) for name, (before, after) in said.items()}


def _own(
    exam: Examination,
    question: str,
    title: str,
    said: Mapping[str, tuple[Tensor, Tensor]],
    strength: float,
    primary: bool,
    constants: Mapping[str, Any],
) -> Evidence:
    return Evidence(
        question=question,
        measure="agreement" if primary else f"agreement_{strength:g}",
        title=f"{title} ({strength:g})",
        kind="trait",
        tallies=_kept(said),
        primary=primary,
        better="higher",
        constants=constants,
        note="A network agrees with itself; no labels are used. More accurate networks agree more often.",
    )


def _consensus(
    exam: Examination,
    question: str,
    said: Mapping[str, tuple[Tensor, Tensor]],
    strength: float,
    constants: Mapping[str, Any],
) -> Evidence:
    teacher = said[exam.panel.teacher.name][1]
    return Evidence(
        question=question,
        measure="consensus",
        title=f"Predicts what the teacher predicts on changed images ({strength:g})",
        kind="likeness",
        tallies={one.name: share((said[one.name][1] == teacher).double()) for one in exam.panel.learners},
        primary=False,
        constants=constants,
    )


def _picture(
    exam: Examination, material: Material, strengths: Sequence[float], views: Views, title: str, axis: str
) -> tuple[bytes, str, str]:
    few = material.part(_SHOWN)
    pictures = few.images.float() / 255
    index = torch.arange(len(few))
    rows = [pictures, *(views(pictures, index, one)[1] for one in strengths)]
    png = grid([list(row) for row in rows], row_names=["image", *(f"{one:g}" for one in strengths)])
    return png, title, f"Above the images, below them what the networks saw; beside them the {axis}."
