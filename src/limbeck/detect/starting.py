"""Begin with the weights of a trained detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from limbeck.errors import ModelError
from limbeck.models import load as load_model
from limbeck.models.detectors.artefact import load
from limbeck.models.detectors.backbones import Maps
from limbeck.models.detectors.families import family_of

FEATURES = "features."


def start_from(detector: nn.Module, path: Path, *, class_names: Sequence[str] = ()) -> list[str]:
    """Give a detector the weights of a trained one; heads for other classes start anew.

    Args:
        detector: changed in place.
        path: model file, or folder of a stage or run.
        class_names: what it is to find, in the order of its labels. As many classes of other names, or in another
            order, are other classes too.

    Returns:
        Names of what was left with its own values.

    Raises:
        CheckpointError: no intact detector there.
        ModelError: more differs than the number of classes explains.
    """
    trained = load(path)
    known, own = trained.state_dict(), detector.state_dict()
    head = f"{family_of(detector).class_layers}."
    names: Any = trained.limbeck_data
    others = bool(names.class_names and class_names) and list(names.class_names) != list(class_names)
    fitting = {
        name: value
        for name, value in known.items()
        if name in own and value.shape == own[name].shape and not (others and name.startswith(head))
    }
    fresh = [name for name in own if name not in fitting]
    odd = [name for name in fresh if name not in known or not name.startswith(head)]
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
    # Networks of torchvision whose layers are all in `features` are followed from there.
    known = {**known, **{name.removeprefix(FEATURES): value for name, value in known.items()}}
    odd = [name for name, value in own.items() if name not in known or known[name].shape != value.shape]
    if odd:
        raise ModelError(
            f"start_backbone: {path} is no classifier like the detector's body: '{odd[0]}' is missing or of "
            f"another shape ({len(odd)} of {len(own)} differ). Both need the same architecture."
        )
    body.network.load_state_dict({name: known[name] for name in own})
    return len(own)
