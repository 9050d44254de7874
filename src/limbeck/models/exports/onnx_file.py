"""An ONNX file, checked with onnxruntime."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.bounds import PositiveInt
from limbeck.errors import InputError, MissingExtraError, ModelError
from limbeck.files import atomic_write
from limbeck.models.exports.card import checked_licence, write_card
from limbeck.models.exports.exported import Comparison, Exported, compare, first_line
from limbeck.models.exports.program import Normalise, captured, facts, taken, tolerance_of
from limbeck.models.exports.source import Source, open_source
from limbeck.models.exports.staging import Target, staged

FILE = "model.onnx"
LOWEST_OPSET = 18
"""The oldest that torch's exporter writes itself, which the runtimes of 2023 and later read."""
_MOST_BYTES = 2**31 - 1
_NOT_TO_KEEP = ("pkg.torch.onnx.stack_trace", "pkg.torch.onnx.fx_node")


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
    _require_packages()
    if precision not in ("float32", "float16"):
        raise InputError(
            f"precision {precision}: ONNX files are written in float32 or float16; onnxruntime has no others for "
            "convolutions."
        )
    _check_opset(opset)
    target = Target.of(path_out, FILE, force=force)
    licence = checked_licence(licence)
    with staged(target) as folder:
        source = open_source(path_in, images)
        said = facts(source, normalise, precision)
        program = captured(source, normalise=normalise, precision=precision)
        proto = _converted(source, program, opset)
        _annotate(proto, source, said)
        atomic_write(folder / FILE, _checked_bytes(proto, source))
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


def _require_packages() -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError as error:
            raise MissingExtraError.of(package, "export", "writing ONNX files") from error


def _check_opset(opset: int) -> None:
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if not LOWEST_OPSET <= opset <= newest:
        raise InputError(f"opset {opset}: this onnx ({onnx.__version__}) writes {LOWEST_OPSET} to {newest}.")


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
            f"{source.name} has no form in ONNX (opset {opset}): {_culprit(error, program)}. "
            "torch.export holds more: --format torch."
        ) from error
    assert written is not None
    return written.model_proto


def _culprit(error: BaseException, program: torch.export.ExportedProgram) -> str:
    """The operation that could not be converted, with the module that it stands in."""
    text, one = "", error
    while True:
        text += f"{one}\n"
        following = one.__cause__ or one.__context__
        if following is None:
            break
        one = following
    missing = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", text)
    if missing is None:
        return first_line(one)
    # The converter may have taken the operation apart: aten.special_bessel_j0 becomes prims.bessel_j0.
    short = missing[1].rpartition(".")[2]
    for node in program.graph.nodes:
        if node.op == "call_function" and short in str(node.target):
            path = _module_of(node)
            return f"there is no ONNX operator for {node.target}" + (f" in module '{path}'" if path else "")
    return f"there is no ONNX operator for {missing[1]}"


def _module_of(node: torch.fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    paths = [str(path) for path, _ in stack.values()]
    return paths[-1].removeprefix("network").lstrip(".") if paths else ""


def _annotate(proto: Any, source: Source, said: dict[str, Any]) -> None:
    """Add what the file says of itself, and drop the lines of code that nodes came from, with their paths."""
    for key, value in {**said, "author": "Limbeck"}.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value)
    proto.doc_string = str(said["input"])
    graphs = [proto.graph, *proto.functions]
    for graph in graphs:
        for node in graph.node:
            kept = [entry for entry in node.metadata_props if entry.key not in _NOT_TO_KEEP]
            del node.metadata_props[:]
            node.metadata_props.extend(kept)


def _checked_bytes(proto: Any, source: Source) -> bytes:
    import onnx

    if proto.ByteSize() > _MOST_BYTES:
        raise ModelError(
            f"{source.name} takes {proto.ByteSize() / 1e9:.1f} GB, and one ONNX file holds at most 2.1 GB. "
            "Use --precision float16 or --format torch."
        )
    try:
        onnx.checker.check_model(proto, full_check=True)
    except Exception as error:  # its own classes, and C++ ones beneath
        raise ModelError(
            f"the export was refused: onnx.checker finds it invalid ({first_line(error)})."
        ) from error
    content = proto.SerializeToString()
    assert isinstance(content, bytes)
    return content


def _compared(source: Source, file: Path, normalise: Normalise, tolerance: float) -> Comparison:
    import onnxruntime

    reader = f"onnxruntime {onnxruntime.__version__}"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # C++ exceptions under several names
        raise ModelError(f"the export was refused: {reader} cannot load it ({first_line(error)}).") from error

    def call(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])

    return compare(source, call, taken(source, normalise), reader=reader, tolerance=tolerance)


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
