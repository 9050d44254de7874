"""A student that ends in the teacher's own classifier, behind a block that maps its features to the teacher's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.bounds import PositiveInt
from limbeck.errors import ModelError
from limbeck.models.building import build
from limbeck.models.classifier import classifier_of
from limbeck.numerics.transfer_block import TransferProjector
from limbeck.taps import evaluating, first_tensor, probe


class ReusedHead(nn.Module):
    """Backbone, transfer block, the teacher's classifier, frozen; the map to be matched is tapped at `transfer`.

    The block stays in the deployed network: count its parameters.

    Args:
        backbone: has `forward_features`, from images to a map (n, c, h, w), as timm's networks and the zoo have.
        transfer: from that map to one with the teacher's channels.
        classifier: from the averaged map to logits; it is frozen.

    Raises:
        ModelError: a backbone without `forward_features`, or whose features are no such maps.

    References:
        SimKD [chen2022knowledge].
    """

    def __init__(self, backbone: nn.Module, transfer: nn.Module, classifier: nn.Linear) -> None:
        super().__init__()
        _require_maps(backbone)
        self.backbone = backbone
        self.transfer = transfer
        self.classifier = classifier.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w) to logits (n, num_classes)."""
        logits = self.classifier(self.transfer(self.backbone.forward_features(images)).mean(dim=(2, 3)))  # type: ignore[operator]
        assert isinstance(logits, Tensor)
        return logits


def reused_head(
    *,
    backbone: dict[str, Any],
    student_channels: PositiveInt,
    teacher_channels: PositiveInt,
    map_size: tuple[PositiveInt, PositiveInt],
    num_classes: PositiveInt,
    in_channels: PositiveInt = 3,
    factor: PositiveInt = 2,
    dropped: list[str] | None = None,
) -> nn.Module:
    """A backbone with a transfer block and room for a teacher's classifier; `reuse_head` fills it.

    Args:
        backbone: name and settings of a network with `forward_features`; its own classifier is left out.
        student_channels: of the backbone's last map.
        teacher_channels: of the teacher's last map.
        map_size: height and width of the teacher's last map; a larger one is averaged down to it.
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.
        factor: the block is narrower in the middle by this factor.
        dropped: module paths of the backbone that its features do not need; its classifier unless given.

    Raises:
        ModelError: a backbone that gives no feature maps.

    References:
        SimKD [chen2022knowledge].
    """
    settings = {"num_classes": num_classes, "in_channels": in_channels, **backbone}
    if "name" not in settings:
        raise ModelError("reused_head: backbone needs a name, e.g. backbone: {name: resnet8}.")
    network = build(settings.pop("name"), **settings)
    _drop(network, [classifier_of(network, settings["num_classes"])[0]] if dropped is None else dropped)
    block = TransferProjector(
        student_shape=(student_channels, 1, 1),
        teacher_shape=(teacher_channels, map_size[0], map_size[1]),
        factor=factor,
    )
    return ReusedHead(network, block, nn.Linear(teacher_channels, num_classes))


def reuse_head(
    student: nn.Module, teacher: nn.Module, images: Tensor, *, num_classes: int, factor: int = 2
) -> ReusedHead:
    """Give a student the classifier of its teacher, behind a new transfer block.

    Train it with the loss `simkd` between the tap `transfer` of the student and `pooled_map` of the teacher.

    Args:
        student: a network that `build` made; what stands behind its features is dropped, all else is kept.
        teacher: its last linear layer reads the average of a feature map; its weights are copied.
        images: an example, shape (n, channels, h, w).
        num_classes: outputs of the teacher.
        factor: the block is narrower in the middle by this factor.

    Returns:
        The network, with a spec that rebuilds it, on the student's device.

    Raises:
        ModelError: a student that gives no feature maps, or a teacher that reads none.

    Example:
        >>> from limbeck.models import build
        >>> teacher, student = build("resnet14", num_classes=5), build("resnet8", num_classes=5)
        >>> net = reuse_head(student, teacher, torch.zeros(2, 3, 16, 16), num_classes=5)
        >>> net(torch.zeros(2, 3, 16, 16)).shape, pooled_map(teacher, torch.zeros(2, 3, 16, 16), num_classes=5)
        (torch.Size([2, 5]), 'layer3')
    """
    _require_maps(student)
    head = classifier_of(teacher, num_classes)[1]
    path = pooled_map(teacher, images, num_classes=num_classes)
    wanted = tuple(probe(teacher, images, [path])[path].shape[1:])
    channels, unused = _features_of(student, images)
    spec = getattr(student, "limbeck_spec", None)
    _drop(student, unused)
    block = TransferProjector(
        student_shape=(channels, 1, 1), teacher_shape=(wanted[0], wanted[1], wanted[2]), factor=factor
    )
    device = next(student.parameters()).device
    model = ReusedHead(student, block, _as_linear(head)).to(device)
    if spec is not None:
        model.limbeck_spec = {  # type: ignore[assignment]
            "name": "reused_head",
            "backbone": {**spec, **({"pretrained": False} if "pretrained" in spec else {})},
            "student_channels": channels,
            "teacher_channels": wanted[0],
            "map_size": list(wanted[1:]),
            "num_classes": num_classes,
            "in_channels": images.shape[1],
            "factor": factor,
            "dropped": unused,
        }
    return model


def pooled_map(model: nn.Module, images: Tensor, *, num_classes: int) -> str:
    """Tap path of the map whose average over positions is what the classifier reads.

    Args:
        model: any classifier.
        images: an example, shape (n, channels, h, w).
        num_classes: its outputs.

    Raises:
        ModelError: the classifier reads something else, as that of a transformer does.
    """
    head, layer = classifier_of(model, num_classes)
    averages = _averages(model, images, layer)
    vector, maps = averages.pop("").average, averages
    same = [path for path, it in maps.items() if it.average.shape == vector.shape and _close(it.average, vector)]
    if same:  # what pools the map has the same average; where the map has one pixel, either will do
        return next((path for path in reversed(same) if maps[path].pixels > 1), same[0])
    raise ModelError(
        f"{type(model).__name__}: its classifier '{head}' does not read the average of a feature map, so it "
        "cannot be reused behind a transfer block. Use a convolutional teacher with global average pooling."
    )


@dataclass(frozen=True)
class _Average:
    average: Tensor
    pixels: int


def _averages(model: nn.Module, images: Tensor, head: nn.Module) -> dict[str, _Average]:
    """Average over positions of every map that a module puts out, and under "" what the head reads."""
    found: dict[str, _Average] = {}

    # At once, for a later module may overwrite a map in place.
    def note(path: str, value: Tensor | None) -> None:
        if value is not None and (value.dim() == 4 or not path):
            average = value.mean(dim=(2, 3)) if value.dim() == 4 else value
            found[path] = _Average(average, value.shape[2] * value.shape[3] if value.dim() == 4 else 1)

    handles = [head.register_forward_pre_hook(lambda _, inputs: note("", first_tensor(inputs)))]
    for name, module in model.named_modules():
        if name:
            hook = partial(lambda path, _, __, output: note(path, first_tensor(output)), name)
            handles.append(module.register_forward_hook(hook))
    try:
        with evaluating(model), torch.no_grad():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def _require_maps(backbone: nn.Module) -> None:
    if not callable(getattr(backbone, "forward_features", None)):
        raise ModelError(
            f"{type(backbone).__name__} has no method forward_features(images) -> map (n, c, h, w), which a "
            "reused head needs. The networks of the zoo and of timm have it; add it to your own."
        )
    layout = str(getattr(backbone, "output_fmt", "NCHW"))
    if not layout.endswith("NCHW"):
        raise ModelError(
            f"{type(backbone).__name__}: forward_features gives {layout}, not maps (n, c, h, w). Use a "
            "convolutional network as the student."
        )


def _features_of(backbone: nn.Module, images: Tensor) -> tuple[int, list[str]]:
    """Channels of the features, and paths of the modules whose weights have no part in them."""
    weights = {name: p.detach().requires_grad_() for name, p in backbone.named_parameters()}
    with evaluating(backbone), torch.enable_grad():
        features = torch.func.functional_call(
            _Features(backbone), {f"backbone.{n}": p for n, p in weights.items()}, images
        )
    if not isinstance(features, Tensor) or features.dim() != 4:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ModelError(
            f"{type(backbone).__name__}: forward_features gives {shape}, not a map (n, c, h, w). Use a "
            "convolutional network as the student."
        )
    gradients = torch.autograd.grad(features.sum(), list(weights.values()), allow_unused=True)
    used = {name for name, gradient in zip(weights, gradients, strict=True) if gradient is not None}
    unused = []
    for path, module in backbone.named_modules():
        own = [f"{path}.{name}" for name, _ in module.named_parameters(recurse=False)]
        if path and own and not used & set(own):
            unused.append(path)
    return features.shape[1], unused


class _Features(nn.Module):
    """A backbone whose call gives its features."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Any:
        return self.backbone.forward_features(images)  # type: ignore[operator]


def _drop(network: nn.Module, paths: Iterable[str]) -> None:
    """Without them no parameter stays without a gradient, and none is stored for nothing."""
    for path in paths:
        network.set_submodule(path, nn.Identity())


def _as_linear(layer: nn.Linear | nn.Conv2d) -> nn.Linear:
    weight = layer.weight.detach().flatten(1)
    linear = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.zero_() if layer.bias is None else linear.bias.copy_(layer.bias)
    return linear
