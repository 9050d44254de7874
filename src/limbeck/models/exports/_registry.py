"""The formats by name. A leaf: no exporter is imported here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Format:
    """One format on the command line.

    Attributes:
        exporter: the function in `limbeck.models`.
        summary: what comes of it.
        settings: of the function, beside those that all have.
    """

    exporter: str
    summary: str
    settings: tuple[str, ...] = ()


FORMATS = {
    "state-dict": Format("export_state_dict", "the weights alone, as safetensors"),
    "timm": Format("export_timm", "a folder that timm loads"),
    "hf": Format("export_hf", "a folder for the Hugging Face hub, which transformers or plain torch loads"),
    "onnx": Format("export_onnx", "an ONNX file, for onnxruntime and others", ("normalise", "precision", "opset")),
    "torch": Format(
        "export_torch", "a program of torch.export, which plain torch loads", ("normalise", "precision")
    ),
}
"""Every format, the plainest first."""
