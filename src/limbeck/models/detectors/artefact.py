"""A trained detector as one safetensors file that rebuilds itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.errors import CheckpointError, InputError, ModelError
from limbeck.models import artefact
from limbeck.models.data_config import DataConfig
from limbeck.models.detectors.building import build_detector

FILE = artefact.FILE_NAME


def save(
    detector: nn.Module,
    path: str | Path,
    *,
    class_names: Sequence[str] = (),
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write a detector, whole or not at all.

    Args:
        detector: built by name.
        path: of the file; its folder exists.
        class_names: in the order of the labels, the background not among them.
        notes: anything worth keeping, as JSON.

    Raises:
        CheckpointError: a detector that does not know how it was built, or names for other classes than it has.
        StorageError: the disk is full or broke.

    Example:
        >>> import tempfile
        >>> net = build_detector("small_ssd", num_classes=2, size=(64, 64))
        >>> file = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> save(net, file, class_names=("cat", "dog"))
        >>> load(file).limbeck_data.class_names
        ('cat', 'dog')
    """
    spec: Any = getattr(detector, "limbeck_spec", None)
    if spec is None:
        raise CheckpointError(
            "this detector does not know how it was built; make it with "
            "limbeck.models.detectors.build_detector(name, num_classes=...)."
        )
    classes = int(spec["num_classes"])
    if class_names and len(class_names) != classes:
        raise CheckpointError(f"the detector has {classes} classes, but {len(class_names)} names are given.")
    facts = {"classes": classes, "family": type(detector).__name__}
    artefact.save(
        detector, path, spec=spec, data=_data(detector, class_names), notes={**(notes or {}), "detector": facts}
    )


def load(path: str | Path, *, device: str | torch.device = "cpu", into: nn.Module | None = None) -> nn.Module:
    """Rebuild a detector, in eval mode, with `limbeck_spec`, `limbeck_data` and `limbeck_notes`.

    Args:
        path: a model file, or the folder of a stage or of a run that holds exactly one.
        device: where it goes.
        into: take this detector instead of building one.

    Raises:
        CheckpointError: not a detector of ours, damaged, or of a newer format.
        ModelError: it cannot be built here.
    """
    card = artefact.read_card(path)
    if not artefact.holds_detector(card):
        raise CheckpointError(f"{path} holds a model, but no detector: limbeck.load reads whatever it is.")
    detector = _rebuilt(card["spec"], path) if into is None else into
    artefact.load(path, into=detector)
    detector.limbeck_notes = dict(card["notes"])  # type: ignore[assignment]
    return detector.to(torch.device(device)).eval()


def _rebuilt(spec: Mapping[str, Any], path: str | Path) -> nn.Module:
    settings = dict(spec)
    try:
        return build_detector(str(settings.pop("name")), num_classes=int(settings.pop("num_classes")), **settings)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except InputError as error:
        raise CheckpointError(
            f"{path} is rebuilt by '{spec['name']}': {error} In Python: with limbeck.registry.imports_allowed(): "
            "..., or build the detector yourself: load(path, into=detector)."
        ) from error


def _data(detector: Any, class_names: Sequence[str]) -> DataConfig:
    transform = detector.transform
    if transform.fixed_size is not None:
        width, height = transform.fixed_size
    else:
        height, width = transform.min_size[-1], transform.max_size
    return DataConfig(
        input_shape=(len(transform.image_mean), int(height), int(width)),
        mean=tuple(map(float, transform.image_mean)),
        std=tuple(map(float, transform.image_std)),
        class_names=tuple(class_names),
    )
