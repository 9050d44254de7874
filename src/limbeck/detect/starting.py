"""Begin with the weights of a trained detector."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from limbeck.errors import ModelError
from limbeck.models import load as load_model
from limbeck.models.detectors.artefact import load
from limbeck.models.detectors.backbones import Maps


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


def start_backbone(detector: nn.Module, path: Path) -> int:
    """Give the body of a detector the weights of a trained classifier of the same architecture.

    Args:
        detector: changed in place.
        path: model file of a classifier, or folder of a stage or run.

    Returns:
        How many tensors were taken over.

    Raises:
        CheckpointError: no intact classifier there.
        ModelError: a detector whose body is no such classifier, or layers of other shapes.
    """
    body = getattr(getattr(detector, "backbone", None), "body", None)
    if not isinstance(body, Maps):
        raise ModelError(
            "start_backbone: the detector's body is no classifier; ssd, retinanet, fcos and faster_rcnn have one."
        )
    known, own = load_model(path).state_dict(), body.network.state_dict()
    odd = [name for name, value in own.items() if name not in known or known[name].shape != value.shape]
    if odd:
        raise ModelError(
            f"start_backbone: {path} is no classifier like the detector's body: '{odd[0]}' is missing or of another "
            f"shape ({len(odd)} of {len(own)} differ). Both need the same architecture."
        )
    body.network.load_state_dict({name: known[name] for name in own})
    return len(own)


def _is_head(name: str) -> bool:
    return any(part in name for part in ("head", "box_predictor"))
