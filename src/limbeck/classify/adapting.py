"""Begin with the weights of a trained classifier."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from limbeck.errors import ModelError
from limbeck.models import classifier_of, load


def start_from(student: nn.Module, path: Path, *, classes: int) -> nn.Module:
    """Give a student the weights of a trained model; a classifier for another number of classes starts anew.

    Args:
        student: changed in place, and returned.
        path: model file, or folder of a stage or run.
        classes: number of classes of the student.

    Raises:
        CheckpointError: no intact model there.
        ModelError: anything but the classifier differs.
    """
    model = load(path)
    known, own = model.state_dict(), student.state_dict()
    head, _ = classifier_of(student, classes)
    belongs = {name for name in own if name.startswith(f"{head}.")}
    fitting = {name: value for name, value in known.items() if name in own and value.shape == own[name].shape}
    missing = sorted(set(own) - set(fitting) - belongs)
    beyond = sorted(set(known) - set(own) - belongs)
    if missing or beyond:
        what = f"'{missing[0]}' is missing or of another shape" if missing else f"it has '{beyond[0]}' besides"
        raise ModelError(
            f"start_from: {path} holds a {type(model).__name__} that does not fit the student, a "
            f"{type(student).__name__}: {what} ({len(missing) + len(beyond)} differences). Only the classifier "
            "may differ."
        )
    student.load_state_dict({**own, **fitting})
    facts = getattr(model, "limbeck_data", None)
    if facts is not None:
        student.limbeck_data = facts  # its weights want this normalisation
    return student
