"""From a name and settings to a network that knows how it was built."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from limbeck.errors import ModelError, did_you_mean
from limbeck.models._registry import MODELS

OFFERED = ("num_classes", "in_channels")
"""What a stage offers to every model; a class of the user's own need not take it."""


def build(name: str, **settings: Any) -> nn.Module:
    """Build a network by name; its spec is kept as `limbeck_spec`, so that `save` can write it down.

    Args:
        name: of the zoo ("resnet8x4"), of a library ("timm/resnet18", "torchvision/resnet18"), or a class of
            one's own ("package.module:Name"), which needs `limbeck.registry.imports_allowed`.
        settings: of the model.

    Raises:
        UnknownNameError: nothing of that name.
        ModelError: a setting that the model does not have or needs, or a model that cannot be built.

    Example:
        >>> net = build("resnet8", num_classes=10)
        >>> net.limbeck_spec
        {'name': 'resnet8', 'num_classes': 10}
    """
    builder = MODELS[name]
    if ":" in name and "/" not in name.partition(":")[0]:
        settings = _own_settings(name, builder, settings)
    else:
        _check(name, settings)
    model = _called(name, builder, settings)
    if not hasattr(model, "limbeck_spec"):  # one made out of a repository says itself how to do without that
        model.limbeck_spec = {"name": name, **settings}  # type: ignore[assignment]
    return model


def _check(name: str, settings: dict[str, Any]) -> None:
    component = MODELS.describe(name)
    _refuse_unknown(name, settings, tuple(component.settings), open_ended=component.open_ended)
    missing = [s.name for s in component.settings.values() if s.required and s.name not in settings]
    if missing:
        raise ModelError(f"model '{name}' needs the setting '{missing[0]}': build('{name}', {missing[0]}=10).")


def _own_settings(name: str, builder: Callable[..., Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that a class of the user's takes; what is merely offered is left out where it is not taken."""
    try:
        parameters = inspect.signature(builder).parameters.values()
    except (TypeError, ValueError):
        return settings
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return settings
    known = tuple(p.name for p in parameters if p.kind is not inspect.Parameter.POSITIONAL_ONLY)
    taken = {k: v for k, v in settings.items() if k in known or k not in OFFERED}
    _refuse_unknown(name, taken, known, open_ended=False)
    return taken


def _refuse_unknown(name: str, settings: dict[str, Any], known: tuple[str, ...], *, open_ended: bool) -> None:
    unknown = [key for key in settings if key not in known]
    if unknown and not open_ended:
        raise ModelError(
            f"model '{name}' has no setting '{unknown[0]}'.{did_you_mean(unknown[0], known)} "
            f"It has: {', '.join(known) or 'none'}."
        )


def _called(name: str, builder: Callable[..., Any], settings: dict[str, Any]) -> nn.Module:
    try:
        model = builder(**settings)
    except (TypeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        given = ", ".join(f"{k}={v!r}" for k, v in settings.items()) or "no settings"
        raise ModelError(f"model '{name}' cannot be built with {given}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"model '{name}' gave a {type(model).__name__}, not a torch.nn.Module.")
    return model
