"""The ends of the stages of a network: out of the zoo's table, or from what timm and torchvision say of theirs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from limbeck.models.cifar.stages import StageTap, stages_of
from limbeck.taps import evaluating, first_tensor

# Maps larger than a quarter of the image belong to the stem, as the literature on ImageNet counts.
_FIRST_REDUCTION = 4
_SIDE_PATHS = ("downsample", "shortcut")


def known_stages(model: nn.Module, example: Tensor) -> tuple[StageTap, ...] | None:
    """Ends of the stages of a network whose stages are known, the largest map first; None for all others.

    Known are the networks of the zoo, timm's (by their `feature_info`) and residual networks with `layer1` ...
    `layer4`, such as torchvision's. Outside the zoo the last activation is found by its output, which is that of
    the stage; it no longer works in place afterwards, so that its input can be read. A stage that ends without one
    is its own preactivation.

    Args:
        model: any network.
        example: a batch of images.

    Example:
        >>> import timm
        >>> known_stages(timm.create_model("test_resnet"), torch.zeros(1, 3, 64, 64))[-1]
        StageTap(output='layer4', preactivation='layer4.0.act2:input', norm='layer4.0.bn2')
    """
    zoo = stages_of(model)
    if zoo is not None:
        return zoo
    paths = [path for path in _paths(model) if path in dict(model.named_modules())]
    return tuple(_end(model, path, example) for path in paths) or None


def _paths(model: nn.Module) -> list[str]:
    info: Any = getattr(model, "feature_info", None)
    if info is not None:
        rows = info if isinstance(info, list) else list(info)
        return [row["module"] for row in rows if row.get("reduction", 0) >= _FIRST_REDUCTION]
    return [name for name, _ in model.named_children() if name in ("layer1", "layer2", "layer3", "layer4")]


def _end(model: nn.Module, stage: str, example: Tensor) -> StageTap:
    """The last activation and batch norm inside a stage, by what they put out."""
    outputs: list[tuple[str, nn.Module, Tensor]] = []
    names = {module: name for name, module in model.get_submodule(stage).named_modules(prefix=stage)}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        tensor = first_tensor(output)
        if tensor is not None:
            outputs.append((names[module], module, tensor.clone()))  # before anything writes over it

    handles = [module.register_forward_hook(note) for module in names]
    try:
        with evaluating(model), torch.no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    ended = outputs[-1][2]
    preactivation = stage
    for name, module, tensor in reversed(outputs):
        if _activates(module) and tensor.shape == ended.shape and torch.equal(tensor, ended):
            preactivation = f"{name}:input"
            if getattr(module, "inplace", False):
                module.inplace = False  # type: ignore[assignment]
            break
    norms = [
        name
        for name, module, _ in outputs
        if isinstance(module, nn.BatchNorm2d)
        and ended.ndim == 4
        and module.num_features == ended.shape[1]
        and not any(side in name for side in _SIDE_PATHS)
    ]
    return StageTap(stage, preactivation, norms[-1] if norms else None)


def _activates(module: nn.Module) -> bool:
    return type(module).__module__.endswith("activation") or "ReLU" in type(module).__name__
