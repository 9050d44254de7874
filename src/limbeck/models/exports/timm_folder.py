"""A folder that timm loads, from a disk or from the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from limbeck.errors import ModelError
from limbeck.files import atomic_write
from limbeck.models.artefact import plain_tensors
from limbeck.models.exports.card import checked_licence, write_card
from limbeck.models.exports.exported import RELOADED, Comparison, Exported, compare
from limbeck.models.exports.source import Source, normalised, open_source
from limbeck.models.exports.staging import Target, staged

FILES = ("README.md", "config.json", "model.safetensors")


def export_timm(
    path_in: str | Path,
    folder: str | Path,
    *,
    images: Tensor | None = None,
    licence: str | None = None,
    repository: str | None = None,
    force: bool = False,
) -> Exported:
    """Write a folder that `timm.create_model("local-dir:<folder>", pretrained=True)` loads.

    Args:
        path_in: a model file, stage folder or run folder of a timm architecture.
        folder: made if it is not there.
        images: to compare on, in [0, 1], shape (n, c, h, w); drawn unless given.
        licence: of the weights, for the card, e.g. `apache-2.0`.
        repository: `owner/name` that the folder is going to, for the card.
        force: replace what is there.

    Raises:
        RunFolderError: something is there already.
        ModelError: not an architecture of timm's, or the reloaded model gives other logits.
    """
    target = Target.of(folder, "model.safetensors", force=force, may_be_alone=False)
    licence = checked_licence(licence)
    with staged(target) as staging:
        source = open_source(path_in, images)
        if not source.name.startswith("timm/"):
            raise ModelError(
                f"'{source.name}' is not an architecture of timm's, so timm cannot build it. What holds it: "
                "--format hf, onnx or torch, and state-dict for its weights alone."
            )
        write_timm(source, staging)
        compared = (_compared(source, staging),)
        title = target.title(repository)
        write_card(
            staging,
            source,
            title=title,
            library="timm",
            usage=_usage(repository, Path(title)),
            reads="`config` has size, mean and deviation; `timm.data.create_transform(**config)` prepares images.",
            compared=compared,
            licence=licence,
        )
    return Exported(target.path, FILES, compared, _usage(None, target.path))


def write_timm(source: Source, folder: Path) -> None:
    """Write `config.json` and the weights as timm reads them; transformers reads the same two files."""
    config = timm_config(source)
    atomic_write(
        folder / "model.safetensors", safetensors.torch.save(plain_tensors(source.model), {"format": "pt"})
    )
    atomic_write(folder / "config.json", json.dumps(config, indent=2) + "\n")


def timm_config(source: Source) -> dict[str, Any]:
    """What timm's `config.json` says about a model."""
    left_out = ("pretrained", "num_classes", "in_channels")
    kept = {k: v for k, v in source.settings.items() if k not in left_out and not k.startswith("pretrained_")}
    found: Any = getattr(source.model, "pretrained_cfg", {})
    own: Mapping[str, Any] = found
    layers = {k: own[k] for k in ("first_conv", "classifier", "fixed_input_size") if own.get(k) is not None}
    data = source.data
    config: dict[str, Any] = {
        "architecture": source.name.removeprefix("timm/").split(".")[0],
        "num_classes": source.classes,
        "num_features": source.model.num_features,
        "model_args": {**kept, "in_chans": data.input_shape[0]},
        "pretrained_cfg": {
            **layers,
            "num_classes": source.classes,
            "input_size": list(data.input_shape),
            "mean": list(data.mean),
            "std": list(data.std),
            "interpolation": "bilinear",
            "crop_pct": 1.0,
        },
    }
    if source.class_names:
        config["label_names"] = list(source.class_names)
    return config


def _compared(source: Source, folder: Path) -> Comparison:
    import timm

    network = _timm_reads(folder)
    images = normalised(source.images, source.data)
    return compare(source, network, images, reader=f"timm {timm.__version__}", tolerance=RELOADED)


def _timm_reads(folder: Path) -> nn.Module:
    import timm

    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    assert isinstance(model, nn.Module)
    return model.eval()


def _usage(repository: str | None, folder: Path) -> str:
    where = f"local-dir:{folder}" if repository is None else f"hf-hub:{repository}"
    return "\n".join(
        [
            "import timm",
            "",
            f"model = timm.create_model({where!r}, pretrained=True).eval()",
            "config = timm.data.resolve_model_data_config(model)",
        ]
    )
