"""Fit a ready-made network to other classes and channels, and say what was done to it."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from limbeck.errors import ModelError
from limbeck.models.classifier import classifier_of

_LOGGER = logging.getLogger("limbeck")


def replace_head(model: nn.Module, classes: int, num_classes: int) -> None:
    """Put a new, untrained last layer in place of the one with `classes` outputs."""
    path, old = classifier_of(model, classes)
    new: nn.Module
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, num_classes, bias=old.bias is not None)
    else:
        new = nn.Conv2d(old.in_channels, num_classes, 1, bias=old.bias is not None)
    model.set_submodule(path, new)


def replace_stem(model: nn.Module, in_channels: int) -> None:
    """Put a convolution of other channels in place of the first one, which keeps what it has learnt."""
    path, old = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    assert isinstance(old, nn.Conv2d)
    new = nn.Conv2d(
        in_channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    with torch.no_grad():
        # The sum over channels answers to a grey image as before; spread over more channels it keeps its scale.
        new.weight.copy_(old.weight.sum(1, keepdim=True).expand_as(new.weight) / in_channels)
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    model.set_submodule(path, new)


def spread(values: tuple[float, ...], in_channels: int) -> tuple[float, ...]:
    """Means or deviations of channels, for a first convolution that sums them up: their average, everywhere."""
    return values if len(values) == in_channels else (sum(values) / len(values),) * in_channels


def tell_new_head(name: str, classes: int | None, num_classes: int | None) -> None:
    """Warn that a classifier is new, where weights are for other classes than those asked for."""
    if num_classes is not None and classes != num_classes:
        _LOGGER.warning(
            "%s: its weights are for %s classes; the classifier for %d classes is new and untrained.",
            name,
            classes,
            num_classes,
        )


def explained(name: str, error: Exception, pretrained: bool, settings: dict[str, Any]) -> ModelError:
    """The error of a library that could not build a model, in our words."""
    reason = f"{type(error).__name__}: {str(error).strip()[:400]}"
    if pretrained and not isinstance(error, TypeError):
        return ModelError(
            f"the pretrained weights of '{name}' could not be fetched ({reason}). Check the network or the cache, "
            "or build it with pretrained: false and train it; a timm model also takes a file that you have: "
            "pretrained_cfg_overlay: {file: weights.safetensors}."
        )
    given = ", ".join(f"{k}={v!r}" for k, v in settings.items()) or "no settings"
    return ModelError(f"'{name}' cannot be built with {given} ({reason}).")
