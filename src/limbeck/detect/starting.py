"""Begin with the weights of a trained detector."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from limbeck.errors import ModelError
from limbeck.models.detectors.artefact import load


def start_from(detector: nn.Module, path: Path) -> list[str]:
    """Give a detector the weights of a trained one; heads for other classes start anew.

    Args:
        detector: changed in place.
        path: model file, or folder of a stage or run.

    Returns:
        Names of what was left with its own values.

    Raises:
        CheckpointError: no intact detector there.
        ModelError: more differs than the number of classes explains.
    """
    known, own = load(path).state_dict(), detector.state_dict()
    fitting = {name: value for name, value in known.items() if name in own and value.shape == own[name].shape}
    fresh = [name for name in own if name not in fitting]
    odd = [name for name in fresh if name not in known or not _is_head(name)]
    odd += [name for name in known if name not in own]
    if odd:
        raise ModelError(
            f"start_from: {path} does not fit the detector: '{odd[0]}' is missing on one side or of another shape "
            f"({len(odd)} differences). Only heads for other classes may differ."
        )
    detector.load_state_dict({**own, **fitting})
    return fresh


def _is_head(name: str) -> bool:
    return any(part in name for part in ("head", "box_predictor"))
