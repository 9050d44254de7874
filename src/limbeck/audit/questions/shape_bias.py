"""Does a student see shapes or textures, as its teacher does?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.examination import Examination
from limbeck.audit.picture import grid
from limbeck.audit.questions._registry import register
from limbeck.audit.questions._shared import method_means
from limbeck.audit.subjects import Subject
from limbeck.audit.tally import Tally
from limbeck.audit.transforms.cue_conflict import CueConflict, cue_conflict
from limbeck.audit.transforms.cue_folder import cue_conflict_folder
from limbeck.audit.transforms.phase_swap import phase_swap
from limbeck.bounds import PositiveInt
from limbeck.errors import ConfigError, did_you_mean
from limbeck.seeding import derive

_SHOWN = 10
_PART = 64


@register
def shape_bias(
    exam: Examination,
    *,
    images: PositiveInt = 1000,
    folder: str | None = None,
    coarse: Mapping[str, Sequence[str]] | None = None,
) -> Answer:
    """How often shape decides where the shape of one class and the texture of another compete.

    Shape decisions over shape and texture decisions.

    Without a folder the images are composed from the test images (see `transforms.cue_conflict`), and a second
    number comes from images with one's Fourier phase and the other's amplitude. Composed images are cruder than
    those of Geirhos et al.: compare networks on them, but not with published values.

    Args:
        exam: the networks and the images.
        images: how many are composed.
        folder: pictures named `<shape class>/<shape><n>-<texture><n>.png`, used instead.
        coarse: for a folder, its classes, each with the classes of the networks that stand for it; the mean of
            their probabilities decides, as in the authors' toolbox. Without it the folder's classes are the
            networks' own.

    Raises:
        ConfigError: `coarse` without a folder, or with classes that the networks do not know.
        DataError: a folder that cannot be read.

    References:
        Geirhos et al., ICLR 2019 [geirhos2019imagenet]; Ojha et al., NeurIPS 2023, section 11.5
        [ojha2023knowledge].
    """
    names = exam.material.class_names
    if coarse is not None and folder is None:
        raise ConfigError("shape_bias: `coarse` names the classes of a folder's pictures; give `folder` too.")
    members = _members(coarse, names)
    exam.note("shape_bias: making images with conflicting cues")
    if folder is not None:
        wanted = exam.panel.teacher.network.data.input_shape
        made = cue_conflict_folder(
            folder, tuple(coarse or names), size=(wanted[1], wanted[2]), channels=exam.material.images.shape[1]
        )
        sets = {"shape_bias": ("folder", made)}
        sources: dict[str, Tensor] = {}
    else:
        part = exam.material.part(images)
        pictures = part.images.float() / 255
        made = cue_conflict(pictures, part.labels, seed=derive(exam.seed, "shape_bias"))
        halves = zip(pictures.split(_PART), made.texture_rows.split(_PART), strict=True)  # spectra are large
        swapped = replace(made, images=torch.cat([phase_swap(some, pictures[rows]) for some, rows in halves]))
        sets = {"shape_bias": ("composed", made), "phase_bias": ("Fourier phase", swapped)}
        sources = {"shape of": pictures[:_SHOWN], "texture of": pictures[made.texture_rows[:_SHOWN]]}
    evidence, numbers = [], {}
    for measure, (how, conflict) in sets.items():
        decisions = {one.name: _decisions(exam, one, conflict, members) for one in exam.panel}
        tallies = {
            name: shape_decisions(found, conflict.shape_labels, conflict.texture_labels)
            for name, found in decisions.items()
        }
        title = "Decides by shape rather than by texture"
        evidence.append(
            Evidence(
                question="shape_bias",
                measure=measure,
                title=title if measure == "shape_bias" else f"{title} ({how})",
                kind="trait",
                tallies=tallies,
                margin=0.05,
                primary=measure == "shape_bias",
                constants={"images": len(conflict.images), "made": how, "folder": folder, "seed": exam.seed},
                note="Counts only images on which the decision is one of the two cues.",
            )
        )
        decided = {name: tally.columns[:, 1].mean().item() for name, tally in tallies.items()}
        numbers[f"{measure}_decided"] = method_means(exam.panel, decided)
    rows = {**sources, **{how: conflict.images[:_SHOWN] for how, conflict in sets.values()}}
    shown = grid([list(row) for row in rows.values()], row_names=list(rows))
    caption = "Pictures of the folder."
    if sources:
        caption = (
            "Images that lent the shape, those that lent the texture, what was composed by sub-bands and by phase."
        )
    return Answer(
        evidence=tuple(evidence),
        pictures={"shape_bias": (shown, "Images with conflicting cues", caption)},
        numbers=numbers,
    )


def shape_decisions(decisions: Tensor, shape: Tensor, texture: Tensor) -> Tally:
    """Shape decisions over shape and texture decisions; images whose cues are of one class count for neither.

    Args:
        decisions: shape (n,), int64.
        shape: class of the contours, shape (n,), int64.
        texture: class of the texture, shape (n,), int64.

    Example:
        >>> decided = torch.tensor([0, 1, 2, 0])
        >>> shape_decisions(decided, torch.tensor([0, 0, 0, 0]), torch.tensor([1, 1, 1, 0])).value
        0.5
    """
    conflict = shape != texture
    by_shape = (decisions == shape) & conflict
    by_texture = (decisions == texture) & conflict
    return Tally(torch.stack([by_shape, by_shape | by_texture], dim=1).to(torch.float64))


def _decisions(
    exam: Examination, subject: Subject, conflict: CueConflict, members: list[list[int]] | None
) -> Tensor:
    logits = exam.logits(subject, conflict.images)
    if members is None:
        return logits.argmax(dim=1)
    chances = logits.double().softmax(dim=1)
    return torch.stack([chances[:, places].mean(dim=1) for places in members], dim=1).argmax(dim=1)


def _members(coarse: Mapping[str, Sequence[str]] | None, names: Sequence[str]) -> list[list[int]] | None:
    if coarse is None:
        return None
    known = {name: place for place, name in enumerate(names)}
    found = []
    for name, members in coarse.items():
        unknown = [member for member in members if member not in known]
        if unknown or not members:
            hint = did_you_mean(unknown[0], known) if unknown else ""
            raise ConfigError(
                f"shape_bias: coarse class '{name}' names '{unknown[0]}', which is no class of the networks.{hint}"
                if unknown
                else f"shape_bias: coarse class '{name}' names no class of the networks."
            )
        found.append([known[member] for member in members])
    return found
