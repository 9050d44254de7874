"""The formats of detectors by name. A leaf: no exporter is imported here."""

from __future__ import annotations

from limbeck.models.exports._registry import Format

FORMATS = {
    "torchvision": Format(
        "export_torchvision", "the weights, and a Python file that torchvision alone is enough for"
    ),
    "onnx": Format("export_onnx", "an ONNX file with its suppression inside", ("size", "opset")),
    "torch": Format("export_torch", "a program of torch.export, which torch and torchvision load", ("size",)),
}
"""Every format, the plainest first; the exporters are functions of `limbeck.models.detectors.exports`."""
