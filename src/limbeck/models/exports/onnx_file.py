"""An ONNX file, checked with onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.bounds import PositiveInt
from limbeck.errors import InputError, ModelError
from limbeck.files import atomic_write
from limbeck.models.exports.card import checked_licence, write_card
from limbeck.models.exports.exported import Comparison, Exported, compare
from limbeck.models.exports.onnx_graph import (
    LOWEST_OPSET,
    annotate,
    check_opset,
    checked_bytes,
    missing_operator,
    reader_name,
    require_packages,
    session_of,
)
from limbeck.models.exports.program import Normalise, captured, facts, taken, tolerance_of
from limbeck.models.exports.source import Source, open_source
from limbeck.models.exports.staging import Target, staged

FILE = "model.onnx"


def export_onnx(
    path_in: str | Path,
    path_out: str | Path,
    *,
    normalise: Normalise = "inside",
    precision: Literal["float32", "float16"] = "float32",
    opset: PositiveInt = LOWEST_OPSET,
    images: Tensor | None = None,
    licence: str | None = None,
    repository: str | None = None,
    force: bool = False,
) -> Exported:
    """Write an ONNX file for any number of images; its metadata has class names and normalisation.

    Args:
        path_in: a model file, stage folder or run folder.
        path_out: a file named `.onnx`, or a folder, which gets a model card too.
        normalise: inside the file, which then takes images in [0, 1]; or outside.
        precision: what the file computes with; it takes and gives float32.
        opset: version of ONNX's operators, at least 18.
        images: to compare on, in [0, 1], shape (n, c, h, w); drawn unless given.
        licence: of the weights, for the card, e.g. `apache-2.0`.
        repository: `owner/name` that the folder is going to, for the card.
        force: replace what is there.

    Raises:
        InputError: `path_out` is named like another format, or an opset that cannot be written.
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
        RunFolderError: something is there already.
        ModelError: an operation that ONNX does not have (the message names it and its module), more than 2 GB, or
            onnxruntime gives other logits.
    """
    require_packages()
    if precision not in ("float32", "float16"):
        raise InputError(
            f"precision {precision}: ONNX files are written in float32 or float16; onnxruntime has no others for "
            "convolutions."
        )
    check_opset(opset)
    target = Target.of(path_out, FILE, force=force)
    licence = checked_licence(licence)
    with staged(target) as folder:
        source = open_source(path_in, images)
        said = facts(source, normalise, precision)
        program = captured(source, normalise=normalise, precision=precision)
        proto = _converted(source, program, opset)
        annotate(proto, said)
        smaller = "Use --precision float16 or --format torch."
        atomic_write(folder / FILE, checked_bytes(proto, source.name, smaller=smaller))
        compared = (_compared(source, folder / FILE, normalise, tolerance_of(precision)),)
        if not target.alone:
            title = target.title(repository)
            write_card(
                folder,
                source,
                title=title,
                library="onnx",
                usage=_usage(repository, Path(title, FILE)),
                reads=f"{said['input']} Operators of ONNX opset {opset}.",
                compared=compared,
                licence=licence,
            )
        files = (target.path.name,) if target.alone else ("README.md", FILE)
    return Exported(target.path, files, compared, _usage(None, target.model))


def _converted(source: Source, program: torch.export.ExportedProgram, opset: int) -> Any:
    try:
        written = torch.onnx.export(
            program,
            (source.images[:2],),
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: "batch"}},
            opset_version=opset,
            verbose=False,
        )
    except Exception as error:  # the converter raises whatever it likes
        raise ModelError(
            f"{source.name} has no form in ONNX (opset {opset}): {missing_operator(error, program)}. "
            "torch.export holds more: --format torch."
        ) from error
    assert written is not None
    return written.model_proto


def _compared(source: Source, file: Path, normalise: Normalise, tolerance: float) -> Comparison:
    session = session_of(file)

    def call(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])

    return compare(source, call, taken(source, normalise), reader=reader_name(), tolerance=tolerance)


def _usage(repository: str | None, file: Path) -> str:
    lines, given = ["import onnxruntime"], repr(str(file))
    if repository is not None:
        lines.append("from huggingface_hub import hf_hub_download")
        given = f'hf_hub_download("{repository}", "{file.name}")'
    return "\n".join(
        [
            *lines,
            "",
            f"session = onnxruntime.InferenceSession({given})",
            '(logits,) = session.run(["logits"], {"images": images})',
        ]
    )
