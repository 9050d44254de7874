"""The formats of flows by name. A leaf: no exporter is imported here."""

from __future__ import annotations

from limbeck.models.exports._registry import Format

FORMATS = {
    "safetensors": Format("export_safetensors", "the weights and what they mean"),
    "torch": Format(
        "export_torch", "a sampler as a program of torch.export, which plain torch loads", ("evaluations", "times")
    ),
    "diffusers": Format("export_diffusers", "a pipeline folder, which Diffusers loads", ("evaluations", "times")),
}
"""Every format, the plainest first; the exporters are functions of `limbeck.flow.exports`."""
