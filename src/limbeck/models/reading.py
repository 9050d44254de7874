"""Any trained classifier on disk as a module that knows its input, whoever wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from limbeck.errors import CheckpointError
from limbeck.models.artefact import find, load
from limbeck.models.data_config import data_config


def read_classifier(path: str | Path, *, device: str = "cpu") -> nn.Module:
    """A trained classifier in eval mode with `limbeck_data`, from whatever holds one.

    Read are model files and run folders of Limbeck, folders of timm and of transformers with safetensors weights,
    and ONNX files, which predict and have no gradients; one that does not say how its images are normalised is
    taken to do so itself. Programs of torch.export are refused: reading one may unpickle it.

    Args:
        path: a file or folder.
        device: where it goes.

    Raises:
        CheckpointError: nothing there that can be read safely.
        ModelError: the network cannot be built here.
        MissingExtraError: the format needs a package that is not installed.

    Example:
        >>> import tempfile
        >>> from limbeck.models import DataConfig, build, save
        >>> file = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> net = build("resnet8", num_classes=2, in_channels=1)
        >>> save(net, file, spec=net.limbeck_spec, data=DataConfig((1, 8, 8), (0.3,), (0.4,), ("cat", "dog")))
        >>> read_classifier(file).limbeck_data.class_names
        ('cat', 'dog')
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".pt2":
        raise CheckpointError(
            f"{path} is a program of torch.export, which cannot be opened without unpickling it. Give the model "
            "file that it was exported from, or an ONNX file."
        )
    if suffix == ".onnx" or _single(path, "*.onnx"):
        from limbeck.models.onnx_classifier import OnnxClassifier

        return OnnxClassifier(path if suffix == ".onnx" else next(path.glob("*.onnx"))).to(device).eval()
    config = _config(path)
    if "architecture" in config and "pretrained_cfg" in config:
        return _with_facts(_timm(path), path).to(device).eval()
    if "model_type" in config:
        from limbeck.models.hugging_face import hf_model

        return _with_facts(hf_model(str(path.absolute()), pretrained=True), path).to(device).eval()
    return load(find(path), device=device)


def _single(path: Path, pattern: str) -> bool:
    return path.is_dir() and len(list(path.glob(pattern))) == 1 and not (path / "model.safetensors").exists()


def _config(path: Path) -> dict[str, Any]:
    """What `config.json` of an exported folder says; a stage's own file of that name says its kind instead."""
    try:
        found = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and "kind" not in found else {}


def _timm(path: Path) -> nn.Module:
    import timm

    weights = [file.name for file in path.iterdir() if file.suffix in (".safetensors", ".bin", ".pth", ".pt")]
    if "model.safetensors" not in weights:
        held = ", ".join(weights) or "none"
        raise CheckpointError(f"{path} is a timm folder without model.safetensors (weights: {held}).")
    try:
        model = timm.create_model(f"local-dir:{path}", pretrained=True)
    except Exception as error:  # timm and its models raise whatever they like
        raise CheckpointError(f"{path} cannot be read by timm: {str(error).splitlines()[0]}") from error
    assert isinstance(model, nn.Module)
    return model


def _with_facts(model: nn.Module, path: Path) -> nn.Module:
    facts = data_config(model)
    if facts is None:
        raise CheckpointError(f"{path} does not say how its images are normalised.")
    model.limbeck_data = facts  # type: ignore[assignment]
    return model
