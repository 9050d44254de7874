"""Distillation of flows and diffusion models into samplers of one and two network evaluations.

Time runs from data at t = 0 to noise at t = 1: x_t = (1 - t) x + t z, and a flow's velocity is that of z - x.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy

_PUBLIC = {
    "Flow": "velocity",
    "Pairs": "pairs",
    "Samples": "sampling",
    "curvature": "straightness",
    "export_diffusers": "exports.diffusers_folder",
    "export_safetensors": "exports.weights_file",
    "export_torch": "exports.torch_program",
    "interpolate": "editing",
    "invert": "editing",
    "load": "artefact",
    "sample": "sampling",
    "save": "artefact",
    "slerp": "editing",
    "straightness": "straightness",
    "translate": "editing",
}

if TYPE_CHECKING:
    from limbeck.flow.artefact import load, save
    from limbeck.flow.editing import interpolate, invert, slerp, translate
    from limbeck.flow.exports.diffusers_folder import export_diffusers
    from limbeck.flow.exports.torch_program import export_torch
    from limbeck.flow.exports.weights_file import export_safetensors
    from limbeck.flow.pairs import Pairs
    from limbeck.flow.sampling import Samples, sample
    from limbeck.flow.straightness import curvature, straightness
    from limbeck.flow.velocity import Flow

__all__ = [
    "Flow",
    "Pairs",
    "Samples",
    "curvature",
    "export_diffusers",
    "export_safetensors",
    "export_torch",
    "interpolate",
    "invert",
    "load",
    "sample",
    "save",
    "slerp",
    "straightness",
    "translate",
]

make_lazy(__name__)
