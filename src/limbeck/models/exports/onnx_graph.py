"""What every ONNX file needs: the packages, an opset, words about itself, a check, and a session that runs it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from limbeck.errors import InputError, MissingExtraError, ModelError
from limbeck.models.exports.exported import first_line

LOWEST_OPSET = 18
"""The oldest that torch's exporter writes itself, which the runtimes of 2023 and later read."""
_MOST_BYTES = 2**31 - 1
_NOT_TO_KEEP = ("pkg.torch.onnx.stack_trace", "pkg.torch.onnx.fx_node")


def require_packages() -> None:
    """Make sure that onnx, onnxscript and onnxruntime are there.

    Raises:
        MissingExtraError: one is not.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError as error:
            raise MissingExtraError.of(package, "export", "writing ONNX files") from error


def check_opset(opset: int) -> None:
    """Make sure that an opset can be written.

    Raises:
        InputError: it cannot.
    """
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if not LOWEST_OPSET <= opset <= newest:
        raise InputError(f"opset {opset}: this onnx ({onnx.__version__}) writes {LOWEST_OPSET} to {newest}.")


def missing_operator(error: BaseException, program: torch.export.ExportedProgram) -> str:
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


def annotate(proto: Any, said: Mapping[str, Any]) -> None:
    """Add what the file says of itself, and drop the lines of code that nodes came from, with their paths.

    Args:
        proto: the model, changed in place.
        said: its metadata; what is no text is kept as JSON. `input` is its description too.
    """
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


def checked_bytes(proto: Any, name: str, *, smaller: str) -> bytes:
    """The content of a file.

    Args:
        proto: the model.
        name: of the network, for messages.
        smaller: what to do where it is too large.

    Raises:
        ModelError: more than 2 GB, or it is not valid ONNX.
    """
    import onnx

    if proto.ByteSize() > _MOST_BYTES:
        raise ModelError(
            f"{name} takes {proto.ByteSize() / 1e9:.1f} GB, and one ONNX file holds at most 2.1 GB. {smaller}"
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


def session_of(model: Path | bytes) -> Any:
    """A file, or its content, in onnxruntime on the processor.

    Raises:
        ModelError: onnxruntime cannot load it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    given = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # C++ exceptions under several names
        raise ModelError(
            f"the export was refused: {reader_name()} cannot load it ({first_line(error)})."
        ) from error


def reader_name() -> str:
    """What reads the file."""
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"
