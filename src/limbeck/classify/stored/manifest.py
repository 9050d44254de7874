"""`store.json`: what a store holds, of which teacher, data and views; and what differs from what is wanted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.classify.stored.contents import Contents, Grid
from limbeck.classify.stored.views import Views, views_fingerprint
from limbeck.classify.teachers import Teacher
from limbeck.errors import CheckpointError
from limbeck.files import atomic_write
from limbeck.protocols import Source
from limbeck.specs import Spec
from limbeck.version import __version__

FORMAT = 1
FILE_NAME = "store.json"
FOLDER = "outputs"
"""Where a stage keeps its store, inside its own folder."""


@dataclass(frozen=True)
class Manifest:
    """Everything that belongs to a store but the numbers.

    Attributes:
        teacher: digest of its weights, and what it expects of its input.
        data: digest, number, shape and classes of the images.
        views: augmentation and how it is drawn.
        contents: of each view.
        grid: how rows are cut into shards.
        batch_size: of the teacher.
        precision: arithmetic of the teacher.
        seeds: of the views; empty where all passes are the same.
        epochs: likewise; 0 where all passes are the same.
    """

    teacher: Mapping[str, Any]
    data: Mapping[str, Any]
    views: Mapping[str, Any]
    contents: Contents
    grid: Grid
    batch_size: int
    precision: str
    seeds: tuple[int, ...]
    epochs: int

    @property
    def identity(self) -> dict[str, Any]:
        """What never changes while a store grows."""
        return {
            "teacher": dict(self.teacher),
            "data": dict(self.data),
            "views": dict(self.views),
            "contents": self.contents.to_dict(),
            "rows": self.grid.rows,
            "batch_size": self.batch_size,
            "precision": self.precision,
        }

    @property
    def digest(self) -> str:
        """Of the identity; every shard carries it."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()

    @property
    def all_views(self) -> Views:
        """The views that the store is to hold."""
        augment = tuple(Spec.model_validate(a) for a in self.views["augment"])
        return Views(seeds=self.seeds or (0,), epochs=max(self.epochs, 1), augment=augment)

    def write(self, folder: Path) -> None:
        """Write `store.json`, whole or not at all."""
        content = {"format": FORMAT, "limbeck": __version__, **self.identity}
        content |= {"seeds": list(self.seeds), "epochs": self.epochs}
        atomic_write(folder / FILE_NAME, json.dumps(content, indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a store.

        Raises:
            CheckpointError: there is none, it is damaged or of a newer format.
        """
        file = folder / FILE_NAME
        try:
            values = json.loads(file.read_bytes())
            version = values["format"]
        except OSError as error:
            raise CheckpointError(f"cannot read {file}: {error.strerror or error}.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{file} is damaged: {error!r}. Store the teacher's outputs again.") from error
        if not isinstance(version, int) or version > FORMAT:
            raise CheckpointError(
                f"{file} has format {version!r}; this Limbeck reads up to {FORMAT}. Install a newer Limbeck."
            )
        try:
            if int(values["rows"]) < 1 or not isinstance(values["views"]["augment"], list):
                raise ValueError(f"rows {values['rows']}, views {values['views']}")
            return cls(
                teacher=dict(values["teacher"]),
                data=dict(values["data"]),
                views=dict(values["views"]),
                contents=Contents.from_dict(values["contents"]),
                grid=Grid(int(values["data"]["samples"]), int(values["rows"])),
                batch_size=int(values["batch_size"]),
                precision=str(values["precision"]),
                seeds=tuple(int(s) for s in values["seeds"]),
                epochs=int(values["epochs"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{file} is damaged: {error!r}. Store the teacher's outputs again.") from error


def find(path: Path) -> Path:
    """The store that a path stands for: its own folder, that of a stage, or that of a run with one.

    Raises:
        CheckpointError: none, or several.
    """
    for folder in (path, path / FOLDER):
        if (folder / FILE_NAME).is_file():
            return folder
    found = sorted(file.parent for file in path.glob(f"*/{FOLDER}/{FILE_NAME}") if ".old-" not in file.as_posix())
    if len(found) == 1:
        return found[0]
    what = "no stored outputs of a teacher" if not found else f"{len(found)} stores; give the folder of one"
    listed = ": " + ", ".join(str(f.relative_to(path)) for f in found) if found else f" ({FILE_NAME})"
    raise CheckpointError(f"{path} holds {what}{listed}. A stage of kind classify.store_teacher writes them.")


def teacher_fingerprint(teacher: Teacher) -> dict[str, Any]:
    """What tells one teacher from another: weights, class of the network, and its input."""
    model = teacher.model
    return {
        "weights": weights_digest(model),
        "network": type(model).__name__,
        "input_shape": list(teacher.data.input_shape),
        "mean": list(teacher.data.mean),
        "std": list(teacher.data.std),
    }


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over name, kind, shape and bytes of every parameter and buffer."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if isinstance(value, torch.Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def data_fingerprint(source: Source) -> dict[str, Any]:
    """What tells one set of images from another."""
    return {
        "fingerprint": source.fingerprint,
        "samples": len(source),
        "image_shape": list(source.image_shape),
        "class_names": list(source.class_names),
    }


def differences(manifest: Manifest, *, teacher: Teacher, source: Source, augment: Sequence[Spec]) -> list[str]:
    """What a store holds against what a student needs, a line for each difference.

    Args:
        manifest: of the store.
        teacher: of the student.
        source: its training images.
        augment: its augmentations.
    """
    wanted = {
        "teacher": teacher_fingerprint(teacher),
        "data": data_fingerprint(source),
        "augmentation": views_fingerprint(augment),
    }
    stored = {"teacher": manifest.teacher, "data": manifest.data, "augmentation": manifest.views}
    return [line for name in wanted for line in compared(name, stored[name], wanted[name])]


def compared(what: str, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """A line for each value that differs.

    Args:
        what: the values belong to.
        stored: what the store has.
        wanted: what is needed.
    """
    keys = [*wanted, *(key for key in stored if key not in wanted)]
    plain = json.loads(json.dumps(wanted))
    return [
        f"{what}, {key.replace('_', ' ')}: stored {_short(stored.get(key))}, here {_short(plain.get(key))}"
        for key in keys
        if stored.get(key) != plain.get(key)
    ]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
