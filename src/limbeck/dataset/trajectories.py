"""Expert trajectories on disk: the weights of a network at chosen moments of its training.

A folder with `trajectories.json` (what the experts have in common) and one `expert-0000.safetensors` each, whose
rows are snapshots. A reader maps a file and takes the rows it needs, so a buffer of any size costs the memory of
two snapshots.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from limbeck.dataset.flat import Flat
from limbeck.dataset.preprocess import Preprocess, from_tensors
from limbeck.errors import CheckpointError, ConfigError
from limbeck.files import atomic_write, sha256_of

VERSION = 1
MANIFEST = "trajectories.json"
PREPROCESS = "preprocess.safetensors"
AGAIN = "Run the stage `dataset.experts` again; it keeps what is intact."


@dataclass(frozen=True)
class Card:
    """What all experts of a folder have in common.

    Attributes:
        model: spec that builds the network.
        parameters: numbers in a snapshot.
        epochs: of each snapshot, in order; fractions of an epoch are possible, 0 is the initialisation.
        class_names: in the order of the labels.
        image_shape: channels, height, width.
        data: fingerprint of the training images.
        preprocess: name of it; its numbers are in a file of their own.
        recipe: how the experts were trained, as plain data.
        begins: what the experts start from; "random" or the digest of earlier subsets.
        version: of this layout.
    """

    model: Mapping[str, Any]
    parameters: int
    epochs: tuple[float, ...]
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    data: str
    preprocess: str
    recipe: Mapping[str, Any]
    begins: str = "random"
    version: int = VERSION

    @property
    def digest(self) -> str:
        """Identity of the folder, which every shard repeats."""
        text = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def expert_file(folder: Path, number: int) -> Path:
    """Where an expert's snapshots are."""
    return folder / f"expert-{number:04d}.safetensors"


def begin(folder: Path, card: Card, preprocess: Preprocess) -> None:
    """Open a folder for writing; one that was begun alike is continued.

    Raises:
        CheckpointError: the folder holds trajectories of something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / MANIFEST).exists():
        there = _card(folder)
        if there.digest != card.digest:
            old, new = asdict(there), asdict(card)
            changed = [
                key for key in new if json.dumps(old[key], default=str) != json.dumps(new[key], default=str)
            ]
            raise CheckpointError(
                f"{folder} holds trajectories with another {', '.join(changed)}. Choose another folder, or "
                f"remove it."
            )
        return
    tensors = {name: value.cpu().contiguous() for name, value in preprocess.tensors().items()}
    atomic_write(folder / PREPROCESS, safetensors.torch.save(tensors, {"name": preprocess.name}))
    atomic_write(folder / MANIFEST, json.dumps(asdict(card), indent=1))


def write_expert(
    folder: Path, number: int, snapshots: Sequence[Tensor], card: Card, *, dtype: torch.dtype
) -> None:
    """Write an expert whole or not at all.

    Args:
        folder: begun before.
        number: of the expert, from 0.
        snapshots: one vector (parameters,) for each of the card's epochs.
        card: of the folder.
        dtype: float32, or float16 for half the bytes.

    Raises:
        StorageError: the disk is full or broke.
    """
    weights = torch.stack([s.detach().to("cpu", dtype) for s in snapshots])
    digest = sha256_of(weights.contiguous().view(torch.uint8).numpy().tobytes())
    about = {"store": card.digest, "expert": number, "sha256": digest}
    data = safetensors.torch.save({"weights": weights}, {"limbeck": json.dumps(about)})
    atomic_write(expert_file(folder, number), data)


class Trajectories:
    """A folder of experts, for reading.

    Args:
        folder: what `dataset.experts` wrote.

    Raises:
        CheckpointError: no manifest, one of a newer version, missing experts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card = _card(folder)
        self.experts = sorted(int(path.stem.split("-")[1]) for path in folder.glob("expert-????.safetensors"))
        if not self.experts:
            raise CheckpointError(f"{folder} holds no expert yet. {AGAIN}")
        if self.experts != list(range(len(self.experts))):
            missing = min(set(range(max(self.experts))) - set(self.experts))
            raise CheckpointError(f"{expert_file(folder, missing)} is missing, later ones are there. {AGAIN}")
        self._checked: set[int] = set()

    def __len__(self) -> int:
        return len(self.experts)

    @property
    def snapshots(self) -> int:
        """How many of each expert."""
        return len(self.card.epochs)

    def weights(self, expert: int, snapshot: int) -> Tensor:
        """One snapshot, (parameters,), float32, on the CPU.

        Args:
            expert: number of the expert.
            snapshot: its place among the card's epochs.

        Raises:
            CheckpointError: a file that is missing, truncated, changed, or of another folder.
        """
        file = expert_file(self.folder, expert)
        if expert not in self._checked:
            self._check(file, expert)
        with safetensors.safe_open(file, "pt") as shard:
            rows = shard.get_slice("weights")
            found: Tensor = rows[snapshot]
        return found.float()

    def segment(self, expert: int, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Two snapshots of one expert."""
        return self.weights(expert, first), self.weights(expert, last)

    def at(self, epoch: float) -> int:
        """The place of the snapshot taken after so many epochs.

        Raises:
            ConfigError: none was taken then.
        """
        for place, there in enumerate(self.card.epochs):
            if abs(there - epoch) < 1e-9:
                return place
        known = ", ".join(f"{e:g}" for e in self.card.epochs)
        raise ConfigError(
            f"epoch: the experts of {self.folder} have no snapshot after {epoch:g} epochs; only {known}."
        )

    def preprocess(self) -> Preprocess:
        """How the experts' images were prepared.

        Raises:
            CheckpointError: the file is missing or damaged.
        """
        file = self.folder / PREPROCESS
        try:
            with safetensors.safe_open(file, "pt") as found:
                tensors = {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118
                name = (found.metadata() or {}).get("name", self.card.preprocess)
        except (OSError, safetensors.SafetensorError) as error:
            raise CheckpointError(f"{file} cannot be read: {error}. {AGAIN}") from error
        return from_tensors(name, tensors)

    def require(self, net: Flat, class_names: Sequence[str], image_shape: Sequence[int], data: str | None) -> None:
        """Make sure that these experts are of this network and this data.

        Args:
            net: that is to be matched.
            class_names: of the data.
            image_shape: of the data.
            data: fingerprint of the training images; None where other images of the classes are as good.

        Raises:
            CheckpointError: another architecture, other classes or their order, another size, other images.
        """
        card = self.card
        if net.size != card.parameters:
            raise CheckpointError(
                f"the experts in {self.folder} are {dict(card.model)} with {card.parameters:,} parameters; "
                f"the network "
                f"to be matched has {net.size:,}. Give both the same model."
            )
        if tuple(card.class_names) != tuple(class_names):
            alike = set(card.class_names) == set(class_names)
            said = "the same classes in another order" if alike else "other classes"
            raise CheckpointError(
                f"the experts in {self.folder} know {said}: {_some(card.class_names)} against the data's "
                f"{_some(class_names)}. Labels would be mixed up; train experts on this data."
            )
        if tuple(card.image_shape) != tuple(image_shape):
            raise CheckpointError(
                f"the experts in {self.folder} saw images of {tuple(card.image_shape)}, the data has "
                f"{tuple(image_shape)}."
            )
        if data is not None and card.data != data:
            raise CheckpointError(
                f"the experts in {self.folder} were trained on other images (fingerprint {card.data}, the "
                f"data's is "
                f"{data}). Name the same source, validation share and seed in both stages."
            )

    def _check(self, file: Path, expert: int) -> None:
        try:
            with safetensors.safe_open(file, "pt") as shard:
                about = json.loads((shard.metadata() or {}).get("limbeck", "{}"))
                weights = shard.get_tensor("weights")
        except (OSError, safetensors.SafetensorError, ValueError) as error:
            raise CheckpointError(f"{file} is truncated or no shard of ours: {error}. {AGAIN}") from error
        if about.get("store") != self.card.digest:
            raise CheckpointError(f"{file} belongs to other trajectories. Was it copied here? Remove it. {AGAIN}")
        if tuple(weights.shape) != (self.snapshots, self.card.parameters):
            raise CheckpointError(
                f"{file} holds {tuple(weights.shape)} numbers, {(self.snapshots, self.card.parameters)} "
                f"belong there. "
                f"{AGAIN}"
            )
        if sha256_of(weights.contiguous().view(torch.uint8).numpy().tobytes()) != about.get("sha256"):
            raise CheckpointError(f"{file} is damaged: its bytes are not those that were written. {AGAIN}")
        self._checked.add(expert)


def _card(folder: Path) -> Card:
    file = folder / MANIFEST
    try:
        found = json.loads(file.read_text())
        version = int(found["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder} holds no readable {MANIFEST}, so no expert trajectories. {AGAIN}"
        ) from error
    if version > VERSION:
        raise CheckpointError(
            f"{file} is of version {version}; this release reads up to {VERSION}. Upgrade Limbeck, or train again."
        )
    for name in ("epochs", "class_names", "image_shape"):
        found[name] = tuple(found[name])
    return Card(**found)


def _some(names: Sequence[str], limit: int = 4) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
