"""From a name and settings to a detector that knows how it was built."""

from __future__ import annotations

from typing import Any

from torch import nn

from limbeck.errors import ModelError, did_you_mean
from limbeck.models._registry import DETECTORS
from limbeck.models.detectors.families import family_of
from limbeck.registry import Component

FETCHES = ("pretrained", "pretrained_backbone")
"""Settings that fetch weights."""


def build_detector(name: str, *, num_classes: int, **settings: Any) -> nn.Module:
    """Build a detector by name; its spec is kept as `limbeck_spec`, so that `save` can write it down.

    Args:
        name: as `limbeck list detectors` prints it, a builder of torchvision ("torchvision/fcos_resnet50_fpn"), or
            `package.module:function` of one's own, which needs `limbeck.registry.imports_allowed`.
        num_classes: classes of objects, the background not among them.
        settings: of the detector.

    Returns:
        A torchvision `SSD`, `RetinaNet`, `FCOS` or `FasterRCNN` with one class more than asked for, the background
        at 0, in training mode.

    Raises:
        UnknownNameError: nothing of that name.
        ModelError: a setting that the detector does not have, or one that it cannot be built with.

    Example:
        >>> net = build_detector("small_ssd", num_classes=3, size=(60, 80))
        >>> net.limbeck_spec
        {'name': 'small_ssd', 'num_classes': 3, 'size': [60, 80]}
    """
    builder = DETECTORS[name]
    component = DETECTORS.describe(name)
    unknown = [key for key in settings if key not in component.settings]
    if unknown and not component.open_ended:
        raise ModelError(
            f"detector '{name}' has no setting '{unknown[0]}'.{did_you_mean(unknown[0], component.settings)} "
            f"It has: {', '.join(component.settings) or 'none'}."
        )
    if num_classes < 1:
        raise ModelError(f"detector '{name}' needs at least one class of objects; num_classes is {num_classes}.")
    try:
        detector = builder(num_classes=num_classes, **settings)
    except (TypeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        given = ", ".join(f"{k}={v!r}" for k, v in settings.items()) or "no settings"
        raise ModelError(f"detector '{name}' cannot be built with {given}: {error}") from error
    family_of(detector)
    assert isinstance(detector, nn.Module)
    detector.limbeck_spec = {  # type: ignore[assignment]
        "name": name,
        "num_classes": num_classes,
        **{key: _plain(value) for key, value in settings.items()},
        **_without_fetching(detector, settings, component),
    }
    return detector


def _without_fetching(detector: nn.Module, settings: dict[str, Any], component: Component) -> dict[str, Any]:
    """What makes the same layers again where weights were fetched, without fetching them a second time."""
    fetched = [key for key in FETCHES if settings.get(key)]
    frozen = [module for module in detector.modules() if type(module).__name__.startswith("FrozenBatchNorm")]
    if not fetched:
        return {}
    instead: dict[str, Any] = {**dict.fromkeys(fetched, False), "frozen_norms": bool(frozen)}
    if frozen:
        instead["norm_epsilon"] = frozen[0].eps
    return {key: value for key, value in instead.items() if key in fetched or key in component.settings}


def _plain(value: Any) -> Any:
    """A setting as JSON would give it back."""
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value
