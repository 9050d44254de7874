"""Find the last linear layer of a network that nobody prepared for it."""

from __future__ import annotations

from torch import nn

from limbeck.errors import ModelError


def classifier_of(model: nn.Module, num_classes: int) -> tuple[str, nn.Linear | nn.Conv2d]:
    """The layer that makes logits out of features.

    timm models are asked for it; elsewhere it is the last linear layer, or 1x1 convolution, with as many outputs
    as there are classes.

    Args:
        model: any classifier.
        num_classes: its outputs.

    Returns:
        Dotted module path and the layer.

    Raises:
        ModelError: there is no such layer.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> classifier_of(net, 3)[0]
        '3'
    """
    layers = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    layers = {name: m for name, m in layers.items() if _outputs(m) is not None}
    asked = _asked(model)
    for name, layer in layers.items():
        if any(layer is part for part in asked) and _outputs(layer) == num_classes:
            return name, layer
    found = [name for name, layer in layers.items() if _outputs(layer) == num_classes]
    if not found:
        last = list(layers.items())[-1:]
        hint = f" Its last linear layer is '{last[0][0]}' with {_outputs(last[0][1])} outputs." if last else ""
        raise ModelError(f"{type(model).__name__} has no linear layer with {num_classes} outputs.{hint}")
    return found[-1], layers[found[-1]]


def _outputs(module: object) -> int | None:
    if isinstance(module, nn.Linear):
        return module.out_features
    if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
        return module.out_channels
    return None


def _asked(model: nn.Module) -> tuple[nn.Module, ...]:
    """What a timm model calls its classifier, with the layers inside; the first of two, as DeiT and LeViT have."""
    ask = getattr(model, "get_classifier", None)
    answer = ask() if callable(ask) else None
    first = answer[0] if isinstance(answer, tuple) else answer
    return tuple(first.modules()) if isinstance(first, nn.Module) else ()
