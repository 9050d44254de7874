"""A detector as a program of torch.export: one file that torch and torchvision load."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.bounds import PositiveInt
from limbeck.files import atomic_write
from limbeck.models.detectors.exports.card import write_detector_card
from limbeck.models.detectors.exports.program import captured, facts, reads
from limbeck.models.detectors.exports.source import DetectorSource, Found, compare_boxes, open_detector
from limbeck.models.detectors.exports.suppression import Detections
from limbeck.models.exports.card import checked_licence
from limbeck.models.exports.exported import RELOADED, Comparison, Exported
from limbeck.models.exports.staging import Target, staged

FILE = "model.pt2"
FACTS = "limbeck.json"
"""Of the entries in the file: architecture, class names, size, thresholds."""
THRESHOLD = "score_threshold"
"""A buffer of the program."""


def export_torch(
    path_in: str | Path,
    path_out: str | Path,
    *,
    size: Sequence[PositiveInt] | None = None,
    images: Sequence[Tensor] | None = None,
    licence: str | None = None,
    repository: str | None = None,
    force: bool = False,
) -> Exported:
    """Write a program that `torch.export.load(path).module()` runs once torchvision is imported.

    It takes one image, float32 (1, 3, h, w) in [0, 1], and gives a table of `boxes`, `labels` of 0..C-1 and
    `scores`, the same as `limbeck.models.detectors.predict`; resizing, normalisation and suppression are inside.
    Its buffer `score_threshold` may be changed.

    Args:
        path_in: a detector's file, or the folder of a stage or of a run that holds exactly one.
        path_out: a file named `.pt2`, or a folder, which gets a model card too.
        size: height and width of the images that it takes; those that the detector works at unless given.
        images: to compare on, in [0, 1], (3, h, w) each; photographs, noise and others unless given.
        licence: of the weights, for the card, e.g. `apache-2.0`.
        repository: `owner/name` that the folder is going to, for the card.
        force: replace what is there.

    Raises:
        InputError: `path_out` is named like another format.
        RunFolderError: something is there already.
        CheckpointError: there is no detector.
        ShapeError: no size, or images of another one.
        ModelError: the detector cannot be captured, or the program finds other objects.
    """
    target = Target.of(path_out, FILE, force=force)
    licence = checked_licence(licence)
    with staged(target) as folder:
        source = open_detector(path_in, size=size, images=images)
        compared = (write_program(source, folder / FILE),)
        if not target.alone:
            title = target.title(repository)
            write_detector_card(
                folder,
                source,
                title=title,
                library="pytorch",
                usage=_usage(source, repository, Path(title, FILE)),
                reads=reads(source),
                compared=compared,
                licence=licence,
            )
        files = (target.path.name,) if target.alone else ("README.md", FILE)
    return Exported(target.path, files, compared, _usage(source, None, target.model))


def write_program(source: DetectorSource, file: Path) -> Comparison:
    """Write a program, read it again and compare.

    Raises:
        ModelError: the detector cannot be captured, or the program finds other objects.
    """
    made: list[Detections] = []

    def wrap(candidates: Any) -> Detections:
        made.append(Detections(candidates))
        return made[0]

    program = captured(source, wrap)
    buffer = io.BytesIO()
    said = json.dumps(facts(source, made[0].candidates))
    torch.export.save(program, buffer, extra_files={FACTS: said})
    atomic_write(file, buffer.getvalue())
    again: Any = torch.export.load(file).module()

    def call(image: Tensor, threshold: float | None) -> Found:
        if threshold is not None:
            again.get_buffer(THRESHOLD).fill_(threshold)
        found: Found = again(image[None])
        return found

    return compare_boxes(source, call, reader=f"torch {torch.__version__}", tolerance=RELOADED)


def _usage(source: DetectorSource, repository: str | None, file: Path) -> str:
    lines, given = ["import torch", "import torchvision"], repr(str(file))
    if repository is not None:
        lines.append("from huggingface_hub import hf_hub_download")
        given = f'hf_hub_download("{repository}", "{file.name}")'
    height, width = source.size
    return "\n".join(
        [
            *lines,
            "",
            f"detector = torch.export.load({given}).module()",
            f"images = torch.rand(1, 3, {height}, {width})",
            'found = detector(images)  # "boxes", "labels", "scores"',
        ]
    )
