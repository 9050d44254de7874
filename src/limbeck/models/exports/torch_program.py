"""A program of torch.export: one file that plain torch loads, without the class of the network."""

from __future__ import annotations

import io
import json
from pathlib import Path

import torch
from torch import Tensor

from limbeck.files import atomic_write
from limbeck.models.exports.card import checked_licence, write_card
from limbeck.models.exports.exported import Comparison, Exported, compare
from limbeck.models.exports.program import Normalise, Precision, captured, facts, reads, taken, tolerance_of
from limbeck.models.exports.source import Source, open_source
from limbeck.models.exports.staging import Target, staged

FILE = "model.pt2"
FACTS = "limbeck.json"
"""Of the entries in the file: architecture, class names, normalisation."""


def export_torch(
    path_in: str | Path,
    path_out: str | Path,
    *,
    normalise: Normalise = "inside",
    precision: Precision = "float32",
    images: Tensor | None = None,
    licence: str | None = None,
    repository: str | None = None,
    force: bool = False,
) -> Exported:
    """Write a program that `torch.export.load(path).module()` runs, for any number of images.

    Args:
        path_in: a model file, stage folder or run folder.
        path_out: a file named `.pt2`, or a folder, which gets a model card too.
        normalise: inside the program, which then takes images in [0, 1]; or outside.
        precision: what the program computes with; it takes and gives float32.
        images: to compare on, in [0, 1], shape (n, c, h, w); drawn unless given.
        licence: of the weights, for the card, e.g. `apache-2.0`.
        repository: `owner/name` that the folder is going to, for the card.
        force: replace what is there.

    Raises:
        InputError: `path_out` is named like another format.
        RunFolderError: something is there already.
        ModelError: the network cannot be captured, or the program gives other logits.
    """
    target = Target.of(path_out, FILE, force=force)
    licence = checked_licence(licence)
    with staged(target) as folder:
        source = open_source(path_in, images)
        compared = (write_program(source, folder / FILE, normalise=normalise, precision=precision),)
        if not target.alone:
            title = target.title(repository)
            write_card(
                folder,
                source,
                title=title,
                library="pytorch",
                usage=usage_of(repository, Path(title, FILE)),
                reads=reads(source, normalise, precision),
                compared=compared,
                licence=licence,
            )
        files = (target.path.name,) if target.alone else ("README.md", FILE)
    return Exported(target.path, files, compared, usage_of(None, target.model))


def write_program(source: Source, file: Path, *, normalise: Normalise, precision: Precision) -> Comparison:
    """Write a program, read it again and compare.

    Args:
        source: the model; its network changes its precision.
        file: in a folder that is there.
        normalise: inside or outside.
        precision: what the program computes with.
    """
    program = captured(source, normalise=normalise, precision=precision)
    said = json.dumps(facts(source, normalise, precision))
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={FACTS: said})
    atomic_write(file, buffer.getvalue())
    again = torch.export.load(file).module()
    images = taken(source, normalise)
    reader = f"torch {torch.__version__}"
    return compare(source, again, images, reader=reader, tolerance=tolerance_of(precision))


def usage_of(repository: str | None, file: Path) -> str:
    """Lines that load a program."""
    lines = ["import torch", ""]
    given = repr(str(file))
    if repository is not None:
        lines = ["import torch", "from huggingface_hub import hf_hub_download", ""]
        given = f'hf_hub_download("{repository}", "{file.name}")'
    return "\n".join([*lines, f"model = torch.export.load({given}).module()", "logits = model(images)"])
