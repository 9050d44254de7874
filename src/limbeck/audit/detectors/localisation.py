"""Does the student look where its teacher looks when it finds an object?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.audit.attribution.similarity import counted_in_all
from limbeck.audit.detectors._registry import register
from limbeck.audit.detectors.examination import DetectorExamination
from limbeck.audit.detectors.gradient_maps import gradient_maps, mass
from limbeck.audit.detectors.pictures import map_pictures
from limbeck.audit.detectors.subjects import DetectorSubject
from limbeck.audit.detectors.sums import partners, share_of_objects
from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.tally import Tally
from limbeck.bounds import Positive, PositiveInt
from limbeck.seeding import derive, uniforms


@dataclass(frozen=True, eq=False)
class Looks:
    """Gradient maps of some objects, made coarse.

    Attributes:
        near: around the object, shape (m, cells, cells), float64.
        signed: the same of the gradient with its sign, by channel, shape (m, 3, cells, cells).
        whole: of the whole image, the same shape.
        inside: share of the whole map's mass inside the object's box, shape (m,); NaN without a map.
    """

    near: Tensor
    signed: Tensor
    whole: Tensor
    inside: Tensor


@register
def localisation(
    exam: DetectorExamination,
    *,
    images: PositiveInt = 200,
    objects: PositiveInt = 4,
    cells: PositiveInt = 12,
    surroundings: Positive = 2.0,
) -> Answer:
    """Gradient maps of the same objects, teacher and student.

    A map is the gradient of a detection's confidence in the pixels (see `gradient_maps`), its absolute values
    summed over the channels and within the cells of a grid. `near_alike` is the cosine of both maps in the box
    around an object, `surroundings` times as large, so that where the object is does not count, only what of it is
    looked at; `whole_alike` that of the whole image. Both are means over the objects of which both have a
    detection, and every other student and control too. `direction` is the cosine of the gradients around an object
    with their signs, channel by channel: whether the same change of the picture makes both more certain. `inside`
    is the share of a map's mass inside the object's box (the energy-based pointing game), a trait.

    Args:
        exam: the sitting.
        images: at most so many, spread evenly; a pass back for each of their objects.
        objects: at most so many of an image, drawn at random, the same for all detectors.
        cells: along each side of a map.
        surroundings: side of the box around an object in sides of the object.

    References:
        Simonyan et al., Deep Inside Convolutional Networks, 2014, section 3 [simonyan2014deep]; Wang et al.,
        Score-CAM, CVPR Workshops 2020, section 4.2 [wang2020score].
    """
    chosen, rows = _chosen(exam, images, objects)
    owner, true = exam.objects.owner[chosen], exam.objects.boxes[chosen]
    looks = {subject.name: _looks(exam, subject, chosen, cells, surroundings) for subject in exam.panel}
    teacher = looks[exam.panel.teacher.name]
    other = partners(exam.objects.labels[chosen], owner)
    learners = [learner.name for learner in exam.panel.learners]

    def shared(measure: Callable[[Looks], Tensor]) -> dict[str, Tally]:
        """Over the objects that all students and controls have a detection of: all are about the same ones."""
        each = counted_in_all(*(measure(looks[name]) for name in learners))
        kept = zip(learners, each, strict=True)
        return {name: share_of_objects(found, owner, len(exam)) for name, found in kept}

    near = shared(lambda mine: cosine(teacher.near, mine.near))
    whole = shared(lambda mine: cosine(teacher.whole, mine.whole))
    direction = shared(lambda mine: cosine(teacher.signed, mine.signed))
    near_control = shared(lambda mine: _elsewhere(teacher.near, mine.near, other))
    whole_control = shared(lambda mine: _elsewhere(teacher.whole, mine.whole, other))
    direction_control = shared(lambda mine: _elsewhere(teacher.signed, mine.signed, other))
    constants = {
        **exam.constants(),
        "images": len(rows),
        "objects": len(chosen),
        "of_an_image": objects,
        "cells": cells,
        "surroundings": surroundings,
        "map": "input gradient of the logit of the score",
        "seed": exam.seed,
    }
    area = (true[:, 2:] - true[:, :2]).prod(dim=1)
    sizes = torch.tensor([float(exam.sample(row).image[0].numel()) for row in rows], dtype=torch.float64)
    chance = float((area / sizes[torch.searchsorted(torch.tensor(rows), owner)]).mean())
    return Answer(
        evidence=(
            Evidence(
                "localisation",
                "near_alike",
                "looks at the same parts of an object (cosine)",
                "likeness",
                near,
                unit="",
                specificity=near_control,
                specificity_note="the teacher's map of another object of the class, in another image",
                constants=constants,
            ),
            Evidence(
                "localisation",
                "direction",
                "the same changes make it more certain of an object (cosine)",
                "likeness",
                direction,
                unit="",
                primary=False,  # it was found on the sets that results are shown for; a claim needs others
                chance=0.0,
                specificity=direction_control,
                specificity_note="the teacher's gradient at another object of the class, in another image",
                constants=constants,
            ),
            Evidence(
                "localisation",
                "whole_alike",
                "looks at the same parts of the image (cosine)",
                "likeness",
                whole,
                unit="",
                primary=False,
                specificity=whole_control,
                specificity_note="the teacher's map of another object of the class, in another image",
                constants=constants,
            ),
            Evidence(
                "localisation",
                "inside",
                "looks inside the object's box",
                "trait",
                {name: share_of_objects(one.inside, owner, len(exam)) for name, one in looks.items()},
                primary=False,
                chance=chance,
                constants=constants,
                note="A map spread evenly over the image would have the share that the boxes cover.",
            ),
        ),
        pictures=map_pictures(exam, chosen, {name: one.near for name, one in looks.items()}, surroundings),
        numbers={
            "objects_with_map": {name: int((~one.inside.isnan()).sum()) for name, one in looks.items()},
        },
    )


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of maps.

    Args:
        first: shape (m, ...).
        second: the same.

    Returns:
        Shape (m,), float64; NaN where one is zero all over.
    """
    first, second = first.flatten(1).double(), second.flatten(1).double()
    lengths = first.norm(dim=1) * second.norm(dim=1)
    return torch.where(lengths > 0, (first * second).sum(dim=1) / lengths, math.nan)


def _elsewhere(teacher: Tensor, mine: Tensor, other: Tensor) -> Tensor:
    return cosine(teacher[other], mine).masked_fill(other < 0, math.nan)


def _chosen(exam: DetectorExamination, images: int, objects: int) -> tuple[Tensor, list[int]]:
    """Numbers of the objects that are looked at, in order, and the images that they are on."""
    owner = exam.objects.owner
    filled = owner.unique()
    count = min(images, len(filled))
    rows = filled[torch.arange(count) * len(filled) // count]
    draws = uniforms(torch.arange(len(owner)), seed=derive(exam.seed, "objects"), epoch=1, draws=1)[:, 0]
    kept = []
    for row in rows.tolist():
        own = (owner == row).nonzero()[:, 0]
        kept.append(own[draws[own].argsort()[:objects]].sort().values)
    return torch.cat(kept), rows.tolist()


def _looks(
    exam: DetectorExamination, subject: DetectorSubject, chosen: Tensor, cells: int, surroundings: float
) -> Looks:
    exam.note(f"{subject.name}: where it looks, {len(chosen):,} objects")
    objects = exam.objects
    owner = objects.owner[chosen]
    near, signed, whole, inside = [], [], [], []
    for rows in owner.unique().split(exam.batch_size):
        of_image = [chosen[owner == row] for row in rows.tolist()]
        gradients = gradient_maps(
            subject.detector,
            [exam.image(row) for row in rows.tolist()],
            [objects.boxes[own].to(exam.device) for own in of_image],
            [objects.labels[own].to(exam.device) for own in of_image],
            iou=exam.foreground_iou,
        )
        for own, one in zip(of_image, (part.cpu() for part in gradients), strict=True):
            true = objects.boxes[own]
            maps = one.abs().sum(dim=1)
            height, width = maps.shape[1:]
            frame = torch.tensor([[0.0, 0.0, width, height]]).expand(len(own), 4)
            around = widened(true, surroundings)
            near.append(mass(maps, around, cells))
            by_channel = mass(one.flatten(0, 1), around.repeat_interleave(one.shape[1], dim=0), cells)
            signed.append(by_channel.unflatten(0, one.shape[:2]))
            whole.append(mass(maps, frame, cells))
            inside.append(mass(maps, true, 1)[:, 0, 0] / maps.double().sum(dim=(1, 2)))
    return Looks(torch.cat(near), torch.cat(signed), torch.cat(whole), torch.cat(inside))


def widened(boxes: Tensor, times: float) -> Tensor:
    """Boxes about the same centres with sides so many times as long.

    Example:
        >>> widened(torch.tensor([[2.0, 2.0, 4.0, 6.0]]), 2.0).tolist()
        [[1.0, 0.0, 5.0, 8.0]]
    """
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * times
    return torch.cat([centre - half, centre + half], dim=1)
