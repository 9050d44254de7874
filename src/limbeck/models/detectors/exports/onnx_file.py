"""A detector as an ONNX file with its suppression inside, checked with onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.bounds import PositiveInt
from limbeck.errors import ModelError
from limbeck.files import atomic_write
from limbeck.models.detectors.exports.candidates import Candidates
from limbeck.models.detectors.exports.card import write_detector_card
from limbeck.models.detectors.exports.onnx_nodes import BOXES, SCORES, append_suppression, with_threshold
from limbeck.models.detectors.exports.program import captured, facts, quiet, reads
from limbeck.models.detectors.exports.source import DetectorSource, Found, compare_boxes, open_detector
from limbeck.models.exports.card import checked_licence
from limbeck.models.exports.exported import COMPILED, Comparison, Exported
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
from limbeck.models.exports.staging import Target, staged

FILE = "model.onnx"
OUTPUTS = ("boxes", "labels", "scores")


def export_onnx(
    path_in: str | Path,
    path_out: str | Path,
    *,
    size: Sequence[PositiveInt] | None = None,
    opset: PositiveInt = LOWEST_OPSET,
    images: Sequence[Tensor] | None = None,
    licence: str | None = None,
    repository: str | None = None,
    force: bool = False,
) -> Exported:
    """Write an ONNX file that finds in one image what `limbeck.models.detectors.predict` finds.

    It takes `images`, float32 (1, 3, h, w) in [0, 1], and gives `boxes`, `labels` of 0..C-1 and `scores`;
    resizing, normalisation and suppression (`NonMaxSuppression`) are inside. Its initializer `score_threshold` may
    be changed. The metadata has class names, size and thresholds.

    Args:
        path_in: a detector's file, or the folder of a stage or of a run that holds exactly one.
        path_out: a file named `.onnx`, or a folder, which gets a model card too.
        size: height and width of the images that it takes; those that the detector works at unless given.
        opset: version of ONNX's operators, at least 18.
        images: to compare on, in [0, 1], (3, h, w) each; photographs, noise and others unless given.
        licence: of the weights, for the card, e.g. `apache-2.0`.
        repository: `owner/name` that the folder is going to, for the card.
        force: replace what is there.

    Raises:
        InputError: `path_out` is named like another format, or an opset that cannot be written.
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
        RunFolderError: something is there already.
        CheckpointError: there is no detector.
        ShapeError: no size, or images of another one.
        ModelError: an operation that ONNX does not have, more than 2 GB, or onnxruntime finds other objects:
            scores may differ by 1e-4, boxes by that part of the largest coordinate.
    """
    require_packages()
    check_opset(opset)
    target = Target.of(path_out, FILE, force=force)
    licence = checked_licence(licence)
    with staged(target) as folder:
        source = open_detector(path_in, size=size, images=images)
        proto = converted(source, opset)
        smaller = "torch.export holds more: --format torch."
        atomic_write(folder / FILE, checked_bytes(proto, source.name, smaller=smaller))
        compared = (_compared(source, proto, folder / FILE),)
        if not target.alone:
            title = target.title(repository)
            write_detector_card(
                folder,
                source,
                title=title,
                library="onnx",
                usage=_usage(repository, Path(title, FILE)),
                reads=f"{reads(source)} Operators of ONNX opset {opset}.",
                compared=compared,
                licence=licence,
            )
        files = (target.path.name,) if target.alone else ("README.md", FILE)
    return Exported(target.path, files, compared, _usage(None, target.model))


def converted(source: DetectorSource, opset: int) -> Any:
    """A detector as an ONNX model.

    Raises:
        ModelError: it cannot be captured, or has an operation that ONNX does not have.
    """
    made: list[Candidates] = []

    def wrap(candidates: Candidates) -> Candidates:
        made.append(candidates)
        return candidates

    program = captured(source, wrap)
    try:
        with quiet():
            written = torch.onnx.export(
                program,
                (source.images[0][None],),
                dynamo=True,
                input_names=["images"],
                output_names=[BOXES, SCORES],
                opset_version=opset,
                verbose=False,
            )
    except Exception as error:  # the converter raises whatever it likes
        raise ModelError(
            f"{source.name} has no form in ONNX (opset {opset}): {missing_operator(error, program)}. "
            "torch.export holds more: --format torch."
        ) from error
    assert written is not None
    proto = written.model_proto
    append_suppression(proto, made[0])
    annotate(proto, facts(source, made[0]))
    return proto


def _compared(source: DetectorSource, proto: Any, file: Path) -> Comparison:
    session = session_of(file)

    def call(image: Tensor, threshold: float | None) -> Found:
        one = session if threshold is None else session_of(with_threshold(proto, threshold))
        found = one.run(OUTPUTS, {"images": image[None].numpy()})
        return {name: torch.from_numpy(value) for name, value in zip(OUTPUTS, found, strict=True)}

    return compare_boxes(source, call, reader=reader_name(), tolerance=COMPILED)


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
            'boxes, labels, scores = session.run(["boxes", "labels", "scores"], {"images": images})',
        ]
    )
