"""Attributions by name. A leaf: no attribution is imported here."""

from __future__ import annotations

from limbeck.registry import Registry

FILES = {
    "grad_cam": "grad_cam",
    "grad_cam_pp": "grad_cam_pp",
    "hires_cam": "hires_cam",
    "layer_cam": "layer_cam",
    "input_gradient": "input_gradient",
    "gradient_times_input": "gradient_times_input",
    "attention_rollout": "attention_rollout",
    "integrated_gradients": "integrated_gradients",
    "occlusion": "occlusion",
}
"""Name of an attribution -> file of this package that defines it."""

ATTRIBUTIONS = Registry("attribution", {name: f"limbeck.audit.attribution.{file}" for name, file in FILES.items()})
register = ATTRIBUTIONS.register
