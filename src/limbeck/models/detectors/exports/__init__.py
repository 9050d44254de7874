"""Trained detectors for programs that know nothing of Limbeck, one format a file.

Every export is written beside its place, read back by the program that it is meant for, compared with what the
detector finds in the same images, and only then takes its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy

_PUBLIC = {
    "export_onnx": "onnx_file",
    "export_torch": "torch_program",
    "export_torchvision": "torchvision_folder",
}

if TYPE_CHECKING:
    from limbeck.models.detectors.exports.onnx_file import export_onnx
    from limbeck.models.detectors.exports.torch_program import export_torch
    from limbeck.models.detectors.exports.torchvision_folder import export_torchvision

__all__ = ["export_onnx", "export_torch", "export_torchvision"]

make_lazy(__name__)
