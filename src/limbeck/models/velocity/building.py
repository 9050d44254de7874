"""From a name and settings to a velocity network that knows how it was built."""

from __future__ import annotations

from typing import Any

from torch import nn

from limbeck.errors import ModelError, did_you_mean
from limbeck.models._registry import VELOCITY_NETWORKS


def build_velocity_network(
    name: str, *, image_shape: tuple[int, int, int], classes: int = 0, **settings: Any
) -> nn.Module:
    """Build a network over images and time.

    Args:
        name: as `limbeck list networks` prints it, or `package.module:function` of one's own.
        image_shape: channels, height, width.
        classes: labels it is conditioned on; 0 for none.
        settings: of the network.

    Returns:
        The network, with its spec as `limbeck_spec`.

    Raises:
        UnknownNameError: nothing of that name.
        ModelError: a setting that the network does not have, or sizes that make none.

    Example:
        >>> net = build_velocity_network("mlp", image_shape=(2, 1, 1), width=8)
        >>> net.limbeck_spec["width"]
        8
    """
    builder = VELOCITY_NETWORKS[name]
    component = VELOCITY_NETWORKS.describe(name)
    unknown = [key for key in settings if key not in component.settings]
    if unknown and not component.open_ended:
        raise ModelError(
            f"velocity network '{name}' has no setting '{unknown[0]}'."
            f"{did_you_mean(unknown[0], component.settings)} It has: {', '.join(component.settings) or 'none'}."
        )
    channels, height, width = image_shape
    shape = (int(channels), int(height), int(width))
    try:
        network = builder(image_shape=shape, classes=classes, **settings)
    except (TypeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"velocity network '{name}' cannot be built for images of {shape}: {error}") from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"velocity network '{name}' gave a {type(network).__name__}, not a torch.nn.Module.")
    network.limbeck_spec = {"name": name, "image_shape": list(shape), "classes": classes, **settings}  # type: ignore[assignment]
    return network
