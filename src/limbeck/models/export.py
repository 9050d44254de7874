"""Take a model out of Limbeck: a plain state dict, or a folder that timm loads. Both are checked first."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from limbeck.errors import InputError, ModelError, RunFolderError
from limbeck.files import atomic_write
from limbeck.models.artefact import load, plain_tensors, read_card
from limbeck.models.building import build
from limbeck.models.data_config import DataConfig
from limbeck.taps import first_tensor


def export_state_dict(path_in: str | Path, path_out: str | Path) -> Path:
    """Write the weights alone, under the network's own names, as a safetensors file that anything reads.

    Read it with `model.load_state_dict(safetensors.torch.load_file(path))`.

    Args:
        path_in: a model file, stage folder or run folder.
        path_out: the file to write.

    Returns:
        The file.

    Raises:
        InputError: `path_out` is not named `.safetensors`.
        ModelError: the reloaded weights give other logits.
    """
    target = Path(path_out)
    if target.suffix != ".safetensors":
        raise InputError(
            f"export writes safetensors, not pickles: name the file {target.with_suffix('.safetensors').name}, "
            f"not {target.name}."
        )
    model = load(path_in)
    _make_folder(target.parent)
    content = safetensors.torch.save(plain_tensors(model), {"format": "pt"})
    spec = dict(read_card(path_in)["spec"])
    if ":" not in spec["name"]:  # a class of the user's own was just built from the very same weights
        again = build(spec.pop("name"), **{**spec, **({"pretrained": False} if "pretrained" in spec else {})})
        again.load_state_dict(safetensors.torch.load(content))
        _check_equal(model, again.eval(), target)
    atomic_write(target, content)
    return target


def export_timm(path_in: str | Path, folder: str | Path) -> Path:
    """Write a folder that `timm.create_model("local-dir:<folder>", pretrained=True)` loads.

    Args:
        path_in: a model file, stage folder or run folder of a timm architecture.
        folder: made if it is not there; an export in it is replaced.

    Returns:
        The folder.

    Raises:
        ModelError: not an architecture of timm's, or the reloaded model gives other logits.
    """
    spec = dict(read_card(path_in)["spec"])
    name = spec.pop("name")
    if not name.startswith("timm/"):
        raise ModelError(
            f"'{name}' is not an architecture of timm's, so timm cannot build it. "
            "Export a plain state dict instead (export_state_dict, or `limbeck export --format state-dict`)."
        )
    model = load(path_in)
    data = model.limbeck_data
    assert isinstance(data, DataConfig)
    target = Path(folder)
    _make_folder(target)
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        config = timm_config(name.removeprefix("timm/"), spec, model, data)
        atomic_write(staging / "model.safetensors", safetensors.torch.save(plain_tensors(model), {"format": "pt"}))
        atomic_write(staging / "config.json", json.dumps(config, indent=2) + "\n")
        _check_equal(model, _timm_reads(staging), target)
        for file in sorted(staging.iterdir()):
            file.replace(target / file.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def timm_config(architecture: str, settings: dict[str, Any], model: nn.Module, data: DataConfig) -> dict[str, Any]:
    """What timm's `config.json` says about a model."""
    kept = {k: v for k, v in settings.items() if k not in ("pretrained", "num_classes", "in_channels")}
    kept = {k: v for k, v in kept.items() if not k.startswith("pretrained_")}
    source = getattr(model, "pretrained_cfg", {})
    layers = {k: source[k] for k in ("first_conv", "classifier", "fixed_input_size") if source.get(k) is not None}
    config: dict[str, Any] = {
        "architecture": architecture.split(".")[0],
        "num_classes": model.num_classes,
        "num_features": model.num_features,
        "model_args": {**kept, "in_chans": data.input_shape[0]},
        "pretrained_cfg": {
            **layers,
            "num_classes": model.num_classes,
            "input_size": list(data.input_shape),
            "mean": list(data.mean),
            "std": list(data.std),
            "interpolation": "bilinear",
            "crop_pct": 1.0,
        },
    }
    if len(data.class_names) == model.num_classes:
        config["label_names"] = list(data.class_names)
    return config


def _timm_reads(folder: Path) -> nn.Module:
    import timm

    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    assert isinstance(model, nn.Module)
    return model.eval()


def _check_equal(model: nn.Module, again: nn.Module, target: Path) -> None:
    data = model.limbeck_data
    assert isinstance(data, DataConfig)
    images = torch.rand(2, *data.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = _logits(model, images), _logits(again, images)
    if not torch.equal(before, after):
        raise ModelError(
            f"the export to {target} was checked and refused: reloaded, the model gives logits that "
            f"differ by up to {float((before - after).abs().max()):.3g}."
        )


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    output = first_tensor(model(images))
    assert output is not None
    return output


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"cannot make the folder {folder}: {error.strerror or error}.") from error
