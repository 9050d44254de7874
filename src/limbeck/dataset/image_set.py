"""The small set itself: images, labels, learned rates, and everything that is needed to train on it elsewhere.

One safetensors file. Its metadata key `limbeck` holds a JSON card: version, class names, preprocessing,
augmentation, provenance, and a SHA-256 over all of that and every tensor.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from limbeck.dataset.labels import label_bytes
from limbeck.dataset.preprocess import Preprocess, from_tensors
from limbeck.errors import CheckpointError, DataError
from limbeck.files import atomic_write

VERSION = 1
_CARD = ("subsets", "lr", "class_names", "preprocess", "augment", "factor", "provenance")
_MASS = 1e-3
"""How far probabilities may be from summing to one; half precision needs about so much."""


@dataclass(frozen=True, eq=False)
class Subset:
    """Images that are learnt together.

    Attributes:
        images: (n, c, h, w), float32, in the space of networks, unbounded.
        labels: class indices, (n,), int64.
        soft: probabilities (n, classes), float32, or None; truncated ones may sum to less than one.
        lr: learned rate, or None.
    """

    images: Tensor
    labels: Tensor
    soft: Tensor | None = None
    lr: float | None = None


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A small set that stands for a large one.

    Attributes:
        subsets: in the order in which a student learns them; one, unless made by SeqMatch.
        class_names: in the order of the labels.
        preprocess: how pixels become what the images are; test images need the same.
        augment: families of DSA that students train with; "" for none.
        factor: each stored image is cut into factor x factor training images (IDC).
        provenance: how it was made, as plain data; `truncated: true` where soft labels were cut to their top.
    """

    subsets: tuple[Subset, ...]
    class_names: tuple[str, ...]
    preprocess: Preprocess
    augment: str = ""
    factor: int = 1
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def images(self) -> Tensor:
        """All images, in order."""
        return torch.cat([s.images for s in self.subsets])

    @property
    def labels(self) -> Tensor:
        """All class indices."""
        return torch.cat([s.labels for s in self.subsets])

    @property
    def soft(self) -> Tensor | None:
        """All probabilities; None unless every subset has some."""
        found = [s.soft for s in self.subsets if s.soft is not None]
        return torch.cat(found) if len(found) == len(self.subsets) else None

    @property
    def classes(self) -> int:
        """How many."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.subsets[0].images.shape[1:]
        return channels, height, width

    @property
    def ipc(self) -> int:
        """Images per class, of the class that has most."""
        return int(torch.bincount(self.labels.cpu(), minlength=self.classes).max())

    @property
    def image_bytes(self) -> int:
        """Of the images at a byte a value, as every image set of the literature is counted."""
        return self.images.numel()

    @property
    def label_bytes(self) -> int:
        """Of soft labels in half precision, truncated ones with their places; of hard ones, class numbers."""
        soft = self.soft
        kept = 0 if soft is None else int((soft > 0).sum(1).max())
        return label_bytes(len(self.labels), self.classes, k=kept)

    @property
    def bytes(self) -> int:
        """Images and labels."""
        return self.image_bytes + self.label_bytes

    def pixels(self) -> Tensor:
        """The images in [0, 1], clamped, (n, c, h, w)."""
        return self.preprocess.invert(self.images).clamp(0, 1)


def validate(found: ImageSet) -> None:
    """Make sure that a set can be trained on.

    Raises:
        DataError: no images, shapes or labels that do not fit, pixels or labels that are not finite, probabilities
            that do not sum to one, preprocessing of other images.
    """
    if not found.subsets:
        raise DataError("an image set has at least one subset.")
    if found.factor < 1:
        raise DataError(f"factor {found.factor}: an image is cut into 1 x 1 (which is itself), 2 x 2, ... images.")
    for number, s in enumerate(found.subsets, 1):
        where = f"subset {number}"
        if s.images.ndim != 4 or not len(s.images) or not s.images.is_floating_point():
            raise DataError(
                f"{where}: images are floating-point (n, c, h, w), at least one; got {tuple(s.images.shape)}."
            )
        if tuple(s.images.shape[1:]) != found.image_shape:
            raise DataError(f"{where}: images of {tuple(s.images.shape[1:])} beside {found.image_shape}.")
        if tuple(s.labels.shape) != (len(s.images),) or s.labels.dtype != torch.int64:
            raise DataError(
                f"{where}: {len(s.images)} images need as many labels, int64; got {tuple(s.labels.shape)}."
            )
        broken = ~torch.isfinite(s.images.flatten(1)).all(1)
        if bool(broken.any()):
            raise DataError(f"{where}: image {int(broken.nonzero()[0])} holds values that are not finite.")
        outside = (s.labels < 0) | (s.labels >= found.classes)
        if bool(outside.any()):
            at = int(outside.nonzero()[0])
            raise DataError(
                f"{where}: image {at} has label {int(s.labels[at])}; {found.classes} classes have labels 0 to "
                f"{found.classes - 1}."
            )
        if s.soft is not None:
            _check_soft(s.soft, len(s.images), found, where)
        if s.lr is not None and not (s.lr > 0 and math.isfinite(s.lr)):
            raise DataError(f"{where}: the learned rate is {s.lr}; it is a finite number above 0.")
    _check_preprocess(found)


def _check_preprocess(found: ImageSet) -> None:
    name, numbers = found.preprocess.name, found.preprocess.tensors()
    for key, value in numbers.items():
        if not bool(torch.isfinite(value).all()):
            raise DataError(f"preprocessing '{name}': its {key} holds values that are not finite.")
    shape = " x ".join(map(str, found.image_shape))
    if name == "zca":
        size = math.prod(found.image_shape)
        for key, wanted in (("mean", (size,)), ("matrix", (size, size)), ("inverse", (size, size))):
            if tuple(numbers[key].shape) != wanted:
                raise DataError(
                    f"preprocessing 'zca': its {key} has shape {tuple(numbers[key].shape)}; images of {shape} "
                    f"need "
                    f"{wanted}."
                )
        return
    for key in ("mean", "std"):
        if len(numbers[key]) not in (1, found.image_shape[0]):
            raise DataError(
                f"preprocessing '{name}': its {key} is of {len(numbers[key])} channels, images of {shape}."
            )
    if not bool((numbers["std"] > 0).all()):
        raise DataError(f"preprocessing '{name}': a std is not above 0, and nothing can be divided by it.")


def _check_soft(soft: Tensor, images: int, found: ImageSet, where: str) -> None:
    if tuple(soft.shape) != (images, found.classes):
        raise DataError(f"{where}: soft labels have shape ({images}, {found.classes}); got {tuple(soft.shape)}.")
    if not bool(torch.isfinite(soft).all()) or bool((soft < 0).any()):
        raise DataError(f"{where}: soft labels are probabilities: finite and not negative.")
    mass = soft.double().sum(1)
    low, high = float(mass.min()), float(mass.max())
    if high > 1 + _MASS or low <= 0:
        raise DataError(f"{where}: soft labels sum to {low:.4g} to {high:.4g}; probabilities sum to one.")
    if low < 1 - _MASS and not found.provenance.get("truncated"):
        raise DataError(
            f"{where}: soft labels sum to {low:.4g} at least. Where they were cut to their largest entries on "
            f"purpose, "
            "the provenance says truncated: true; otherwise give probabilities that sum to one."
        )


def save(found: ImageSet, path: str | Path) -> None:
    """Write a set, whole or not at all.

    Args:
        found: the set.
        path: of the file; its folder exists.

    Raises:
        DataError: it cannot be trained on.
        StorageError: the disk is full or broke.
    """
    validate(found)
    tensors: dict[str, Tensor] = {f"preprocess.{name}": t for name, t in found.preprocess.tensors().items()}
    for number, s in enumerate(found.subsets):
        tensors[f"{number}.images"], tensors[f"{number}.labels"] = s.images.float(), s.labels
        if s.soft is not None:
            tensors[f"{number}.soft"] = s.soft.float()
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    card: dict[str, Any] = {
        "format": "image set",
        "version": VERSION,
        "subsets": len(found.subsets),
        "lr": [s.lr for s in found.subsets],
        "class_names": list(found.class_names),
        "preprocess": found.preprocess.name,
        "augment": found.augment,
        "factor": found.factor,
        "provenance": dict(found.provenance),
    }
    card = json.loads(json.dumps(card, default=str))
    card["sha256"] = _digest(card, plain)
    atomic_write(Path(path), safetensors.torch.save(plain, {"limbeck": json.dumps(card)}))


def load(path: str | Path) -> ImageSet:
    """Read a set, on the CPU.

    Args:
        path: of the file.

    Raises:
        CheckpointError: no file, no set of ours, one of a newer version, truncated or changed.
        DataError: a set that cannot be trained on.
    """
    file = Path(path)
    if file.is_dir():
        raise CheckpointError(
            f"{file} is a folder; an image set is a file, set.safetensors in the folder of its stage."
        )
    try:
        with safetensors.safe_open(file, "pt") as opened:
            text = (opened.metadata() or {}).get("limbeck")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"{file}: no such file; an image set is named set.safetensors.") from error
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{file} is truncated, or no safetensors file: {error}.") from error
    card = _card(text, file)
    wanted = card.pop("sha256", None)
    if _digest(card, tensors) != wanted:
        raise CheckpointError(f"{file} is damaged: its contents are not what was written. Fetch or make it again.")
    _require_whole(card, tensors, file)
    prefix = "preprocess."
    numbers = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    subsets = tuple(
        Subset(tensors[f"{i}.images"], tensors[f"{i}.labels"], tensors.get(f"{i}.soft"), card["lr"][i])
        for i in range(card["subsets"])
    )
    found = ImageSet(
        subsets=subsets,
        class_names=tuple(card["class_names"]),
        preprocess=from_tensors(card["preprocess"], numbers),
        augment=card["augment"],
        factor=card["factor"],
        provenance=card["provenance"],
    )
    validate(found)
    return found


def _card(text: str | None, file: Path) -> dict[str, Any]:
    try:
        card = json.loads(text or "")
    except ValueError:
        card = None
    if not isinstance(card, dict) or card.get("format") != "image set":
        raise CheckpointError(f"{file} is no image set of Limbeck: its metadata says nothing of one.")
    version = card.get("version")
    if not isinstance(version, int):
        raise CheckpointError(
            f"{file} does not say in which version of the format it is; {VERSION} is known here."
        )
    if version > VERSION:
        raise CheckpointError(
            f"{file} was written by a newer Limbeck (version {version} of the format, this release reads up to "
            f"{VERSION}). Upgrade: pip install --upgrade limbeck"
        )
    return card


def _require_whole(card: Mapping[str, Any], tensors: Mapping[str, Tensor], file: Path) -> None:
    lacking = [key for key in _CARD if key not in card]
    if not lacking:
        needed = [f"{i}.{part}" for i in range(card["subsets"]) for part in ("images", "labels")]
        lacking = [name for name in needed if name not in tensors]
        if len(card["lr"]) != card["subsets"]:
            lacking.append(f"lr of all {card['subsets']} subsets")
    if lacking:
        raise CheckpointError(f"{file} is no complete image set: it lacks {', '.join(lacking)}. Make it again.")


def _digest(card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256(json.dumps(card, sort_keys=True).encode())
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
