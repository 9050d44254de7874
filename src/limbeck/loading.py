"""One way to load whatever a run has trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from limbeck import flow, models
from limbeck.models import detectors
from limbeck.models.artefact import holds_detector, holds_flow


def load(path: str | Path, *, device: str = "cpu", into: nn.Module | None = None) -> Any:
    """Rebuild a trained model from its file, in eval mode.

    Args:
        path: a model file, or the folder of a stage or of a run that holds exactly one.
        device: where the model goes.
        into: take this network instead of building one, for networks whose class is not to be imported by name.

    Returns:
        A classifier, an `nn.Module` with `limbeck_spec` and `limbeck_data`; a detector, the same, whose boxes
        `limbeck.models.detectors.predict` gives; or a `limbeck.flow.Flow`, which `limbeck.flow.sample` draws from.
        The file says which.

    Raises:
        CheckpointError: not a model of ours, damaged, of a newer format, a pickle, or made from code that may
            not be imported.
        ModelError: the network that the file names cannot be built here.

    Example:
        >>> import tempfile
        >>> from limbeck.models.velocity import build_velocity_network
        >>> made = flow.Flow(build_velocity_network("mlp", image_shape=(2, 1, 1)), image_shape=(2, 1, 1))
        >>> file = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> flow.save(made, file)
        >>> load(file).predicts
        'velocity'
    """
    card = models.read_card(path)
    if holds_flow(card):
        return flow.load(path, device=device, into=into)
    if holds_detector(card):
        return detectors.load(path, device=device, into=into)
    return models.load(path, device=device, into=into)
