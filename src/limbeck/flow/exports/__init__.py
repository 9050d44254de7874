"""Trained flows for programs that know nothing of Limbeck, one format a file.

Every export is written beside its place, read back by the program that it is meant for, compared with the flow on
the same noise, and only then takes its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy

_PUBLIC = {
    "export_diffusers": "diffusers_folder",
    "export_safetensors": "weights_file",
    "export_torch": "torch_program",
}

if TYPE_CHECKING:
    from limbeck.flow.exports.diffusers_folder import export_diffusers
    from limbeck.flow.exports.torch_program import export_torch
    from limbeck.flow.exports.weights_file import export_safetensors

__all__ = ["export_diffusers", "export_safetensors", "export_torch"]

make_lazy(__name__)
