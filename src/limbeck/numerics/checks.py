"""Checks of what a loss or measure was given, with messages that show the shapes."""

from __future__ import annotations

from torch import Tensor

from limbeck.errors import ConfigError, DataError, ShapeError


def require_same(where: str, dims: str, **tensors: Tensor) -> None:
    """Require equal shapes with as many dimensions as `dims` names, e.g. "n c h w".

    Raises:
        ShapeError: a wrong number of dimensions, or shapes that differ.
    """
    shown = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
    wanted = f"({', '.join(dims.split())})"
    if any(tensor.dim() != len(dims.split()) for tensor in tensors.values()):
        raise ShapeError(f"{where}: expected shape {wanted}, got {shown}.")
    if len({tuple(tensor.shape) for tensor in tensors.values()}) > 1:
        raise ShapeError(f"{where}: shapes must be equal, {wanted}; got {shown}.{_way_out(dims)}")


def _way_out(dims: str) -> str:
    if dims == "n c":
        return " Logits need the same classes in the same order on both sides."
    return " A projector on the student's side makes them equal (limbeck.losses.ConvProjector, ProjectorEnsemble)."


def require_cost(where: str, cost: Tensor, classes: int) -> None:
    """Require a square cost between classes.

    Raises:
        ShapeError: the cost is not (classes, classes).
    """
    if tuple(cost.shape) != (classes, classes):
        raise ShapeError(
            f"{where}: cost has shape {tuple(cost.shape)}, but the logits have {classes} classes; "
            f"expected ({classes}, {classes})."
        )


def require_above(where: str, bound: float, **settings: float) -> None:
    """Require numbers above a bound.

    Raises:
        ConfigError: a number at or below it (or not a number).
    """
    for name, value in settings.items():
        if not value > bound:
            raise ConfigError(f"{where}: {name} must be above {bound:g}, got {value!r}.")


def class_indices(where: str, labels: Tensor, logits: Tensor) -> Tensor:
    """Class index of each sample: labels as given, or the argmax of one-hot or soft labels.

    Args:
        where: who asks, for messages.
        labels: shape (n,) integers or (n, classes).
        logits: shape (n, classes), to check against.

    Returns:
        Indices, shape (n,), int64.

    Raises:
        ShapeError: labels fit neither form.
        DataError: an index outside 0 .. classes - 1 (looked for where that costs no device sync).
    """
    samples, classes = logits.shape
    if labels.dim() == 2 and tuple(labels.shape) == (samples, classes):
        return labels.argmax(dim=1)
    if tuple(labels.shape) != (samples,) or labels.is_floating_point():
        raise ShapeError(
            f"{where}: labels have shape {tuple(labels.shape)} and type {labels.dtype}, but the logits are "
            f"({samples}, {classes}); expected integers ({samples},) or weights ({samples}, {classes})."
        )
    if labels.device.type == "cpu" and samples:
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            raise DataError(
                f"{where}: labels run from {low} to {high}, but the logits have {classes} classes "
                f"(0 to {classes - 1})."
            )
    return labels.long()


def require_samples(where: str, logits: Tensor) -> None:
    """Require at least one sample: a mean over none is not a number.

    Raises:
        DataError: there is none.
    """
    if not len(logits):
        raise DataError(f"{where}: no samples to measure (logits have shape {tuple(logits.shape)}).")
