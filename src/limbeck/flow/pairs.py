"""Pairs of data and noise that a flow couples: a folder of checksummed shards.

A pair's noise is a pure function of the store's seed and the pair's index (`limbeck.seeding.normals`), so a
generated pair is kept as its image alone and can be made again from its index; pairs of real data keep the noise
that inversion gave. `manifest.json` says whose pairs they are; each shard `pairs-00000.safetensors` holds
`images`, and where there are some `labels` and `noise`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import CheckpointError, DataError
from limbeck.files import atomic_write
from limbeck.flow.data import as_bytes, as_signed
from limbeck.protocols import Batch
from limbeck.sealed import Sealed, write_sealed
from limbeck.seeding import normals, permutation, uniforms

MANIFEST = "manifest.json"
FORMAT = 1
AGAIN = "Run the stage that makes the pairs again; it keeps what is intact."
Kept = Literal["uint8", "float16", "float32"]
Direction = Literal["generated", "inverted"]
_BYTES = {"uint8": 1, "float16": 2, "float32": 4}
RESIDENT_BYTES = 4_000_000_000
"""Up to so many bytes of images and noise are kept on the device in training; larger stores stay on disk."""


@dataclass(frozen=True)
class Manifest:
    """What a store's pairs are.

    Attributes:
        direction: "generated", images from noise, or "inverted", noise from real images.
        count: pairs in all.
        shard_size: pairs in each shard but the last.
        image_shape: channels, height, width.
        kept: how images are kept; uint8 is the published way, and what images of files have anyway.
        classes: of the labels; 0 where there are none.
        class_names: in the order of the labels.
        seed: of noise and labels.
        teacher: fingerprint of the flow that couples.
        solver: by name with settings.
        evaluations: of the flow for each pair; 0 where an adaptive solver chose them.
        guidance: scale, or None.
        data: fingerprint of the real data, for inverted pairs.
        format: of the store.
    """

    direction: Direction
    count: int
    shard_size: int
    image_shape: tuple[int, int, int]
    kept: Kept
    classes: int
    class_names: tuple[str, ...]
    seed: int
    teacher: str
    solver: dict[str, Any]
    evaluations: int
    guidance: float | None = None
    data: str | None = None
    format: int = field(default=FORMAT)

    @property
    def shards(self) -> int:
        """How many files."""
        return -(-self.count // self.shard_size)

    @property
    def stores_noise(self) -> bool:
        """Whether noise is kept, because no index gives it."""
        return self.direction == "inverted"

    @property
    def bytes(self) -> int:
        """On disk, but for headers."""
        values = int(np.prod(self.image_shape))
        each = values * _BYTES[self.kept] + (8 if self.classes else 0) + (4 * values if self.stores_noise else 0)
        return self.count * each

    @property
    def digest(self) -> str:
        """Of everything that decides what the pairs are; the number of pairs and of shards does not."""
        said = {k: v for k, v in asdict(self).items() if k not in ("count", "shard_size")}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def span(self, shard: int) -> range:
        """Indices of a shard's pairs."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.count))

    def noise(self, index: Tensor) -> Tensor:
        """Noise of some generated pairs, (n, c, h, w)."""
        return normals(index, seed=self.seed, shape=self.image_shape)

    def labels(self, index: Tensor) -> Tensor | None:
        """Classes of some generated pairs, drawn uniformly; None where there are none."""
        if not self.classes:
            return None
        drawn = uniforms(index, seed=self.seed, epoch=1, draws=1)[:, 0].double()
        return (drawn * self.classes).long().clamp(max=self.classes - 1)


def begin(folder: Path, manifest: Manifest) -> None:
    """Make the folder of a store, or make sure that it is the same one.

    Raises:
        CheckpointError: it holds pairs of another teacher, solver or seed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / MANIFEST).exists():
        found = read_manifest(folder)
        if found.digest != manifest.digest or found.shard_size != manifest.shard_size:
            raise CheckpointError(
                f"{folder} holds other pairs ({_difference(found, manifest)}). Begin in another folder, or "
                "remove it."
            )
        if found.count == manifest.count:
            return
    atomic_write(folder / MANIFEST, json.dumps(asdict(manifest), indent=2) + "\n")


def write_shard(
    folder: Path, manifest: Manifest, shard: int, *, images: Tensor, labels: Tensor | None, noise: Tensor | None
) -> None:
    """Write one shard, whole or not at all.

    Args:
        folder: of the store.
        manifest: of the store.
        shard: which one.
        images: in [-1, 1], (n, c, h, w).
        labels: (n,) or None.
        noise: for inverted pairs.
    """
    kept = as_bytes(images) if manifest.kept == "uint8" else images.to(getattr(torch, manifest.kept))
    tensors = {"images": kept}
    if labels is not None:
        tensors["labels"] = labels
    if noise is not None:
        tensors["noise"] = noise.float()
    card = {"format": "pairs", "store": manifest.digest, "first": manifest.span(shard).start, "count": len(images)}
    write_sealed(shard_file(folder, shard), tensors, card)


def shard_file(folder: Path, shard: int) -> Path:
    """The file of a shard."""
    return folder / f"pairs-{shard:05d}.safetensors"


def open_shard(folder: Path, manifest: Manifest, shard: int) -> Sealed:
    """A shard of a store.

    Raises:
        CheckpointError: missing, cut short, damaged, or of another store.
    """
    found = Sealed(shard_file(folder, shard), again=AGAIN)
    if found.card.get("store") != manifest.digest:
        raise CheckpointError(
            f"{found.path} holds pairs of another teacher, solver or seed. Was it copied here? Remove it. {AGAIN}"
        )
    span = manifest.span(shard)
    if (found.card.get("first"), found.card.get("count")) != (span.start, len(span)):
        raise CheckpointError(
            f"{found.path} holds {found.card.get('count')} pairs from {found.card.get('first')} on; "
            f"{len(span)} from {span.start} on belong there. {AGAIN}"
        )
    return found


def read_manifest(folder: Path) -> Manifest:
    """What a folder's pairs are.

    Raises:
        CheckpointError: no store, a damaged one, or one of a newer format.
    """
    try:
        said = json.loads((folder / MANIFEST).read_bytes())
        version = said["format"]
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} holds no pairs: it has no {MANIFEST}. Was its stage finished?") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / MANIFEST} is damaged ({error!r}). {AGAIN}") from error
    if version != FORMAT:
        raise CheckpointError(f"{folder} has pairs of format {version!r}; this Limbeck reads {FORMAT}.")
    try:
        shape = tuple(said.pop("image_shape"))
        return Manifest(image_shape=shape, class_names=tuple(said.pop("class_names")), **said)
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / MANIFEST} is damaged ({error}). {AGAIN}") from error


def _difference(found: Manifest, wanted: Manifest) -> str:
    old, new = asdict(found), asdict(wanted)
    changed = [key for key in old if old[key] != new[key] and key != "count"]
    return "; ".join(f"{key}: {str(old[key])[:24]} -> {str(new[key])[:24]}" for key in changed)


class Pairs:
    """A finished store, opened; `images`, `noise` and `labels` take indices (n,) in any order.

    Args:
        folder: of the store, or of the stage that holds it.
        verify: compare every shard's checksum now.

    Raises:
        CheckpointError: shards that are missing, damaged or foreign.
    """

    def __init__(self, folder: str | Path, *, verify: bool = True) -> None:
        place = Path(folder)
        self.folder = place if (place / MANIFEST).exists() else place / "pairs"
        self.manifest = read_manifest(self.folder)
        self._shards = [open_shard(self.folder, self.manifest, number) for number in range(self.manifest.shards)]
        if verify:
            for shard in self._shards:
                shard.verify()

    def __len__(self) -> int:
        return self.manifest.count

    def images(self, index: Tensor) -> Tensor:
        """Data of some pairs in [-1, 1], (n, c, h, w), on the CPU."""
        found = self._rows("images", index)
        return as_signed(found) if self.manifest.kept == "uint8" else found.float()

    def noise(self, index: Tensor) -> Tensor:
        """Noise of some pairs, (n, c, h, w), on the CPU."""
        return self._rows("noise", index) if self.manifest.stores_noise else self.manifest.noise(index.cpu())

    def labels(self, index: Tensor) -> Tensor | None:
        """Classes of some pairs, (n,), or None."""
        return self._rows("labels", index) if self.manifest.classes else None

    def require_teacher(self, fingerprint: str, *, name: str) -> None:
        """Make sure that a teacher is the one that made these pairs.

        Raises:
            CheckpointError: it is another one.
        """
        if self.manifest.teacher != fingerprint:
            raise CheckpointError(
                f"the pairs in {self.folder} were made by another teacher ({self.manifest.teacher[:12]}...) than "
                f"'{name}' ({fingerprint[:12]}...). Make pairs with this one."
            )

    def norm_ratio(self, count: int = 1000) -> float:
        """Mean square of the noise of the first `count` pairs: 1 where inversion lands among normal noise."""
        noise = self.noise(torch.arange(min(count, len(self))))
        return float(noise.double().square().mean())

    def _rows(self, name: str, index: Tensor) -> Tensor:
        rows = index.cpu().numpy()
        shard_of = rows // self.manifest.shard_size
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise DataError(f"pairs run from 0 to {len(self) - 1}; asked for {rows.min()} to {rows.max()}.")
        parts = [
            self._shards[s].rows(name, rows[shard_of == s] % self.manifest.shard_size) for s in np.unique(shard_of)
        ]
        places = torch.from_numpy(np.concatenate([np.flatnonzero(shard_of == s) for s in np.unique(shard_of)]))
        joined = torch.cat(parts)
        out = torch.empty_like(joined)
        out[places] = joined
        return out


@dataclass(frozen=True, eq=False)
class _Held:
    """A store's pairs on the device."""

    images: Tensor
    noise: Tensor
    labels: Tensor | None


class PairStream:
    """Batches of pairs; every batch is a pure function of (seed, epoch, number).

    Args:
        pairs: generated ones.
        real: pairs of real data with the noise of their inversion, or None.
        real_share: how often a real pair stands in a generated one's place.
        batch_size: over all processes together.
        seed: of the order and the mixing.
        device: where batches go.
        resident: keep everything there; by size unless given.
        rank: of this process.
        world: how many there are.
    """

    def __init__(
        self,
        pairs: Pairs,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        real: Pairs | None = None,
        real_share: float = 0.0,
        resident: bool | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if real is not None and real.manifest.image_shape != pairs.manifest.image_shape:
            raise DataError(
                f"real pairs have images of {real.manifest.image_shape}, the others {pairs.manifest.image_shape}."
            )
        size = min(batch_size, len(pairs))
        if size % world:
            raise DataError(f"batch_size {size} cannot be shared by {world} processes.")
        self.batch_size, self._seed, self._device = size, seed, device
        self._rank, self._world = rank, world
        self._pairs, self._real, self._share = pairs, real, real_share
        stores = [store for store in (pairs, real) if store is not None]
        self._held: dict[int, _Held] = {}
        if resident if resident is not None else sum(map(_held_bytes, stores)) <= RESIDENT_BYTES:
            self._held = {number: _hold(store, device) for number, store in enumerate(stores)}

    def __len__(self) -> int:
        return len(self._pairs) // self.batch_size

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch (counted from 1), from batch `start` on."""
        order = permutation(len(self._pairs), self._seed, number)
        for place in range(start, len(self)):
            rows = order[place * self.batch_size : (place + 1) * self.batch_size][self._rank :: self._world]
            batch = self._batch(0, self._pairs, rows)
            if self._real is not None and self._share > 0:
                batch = self._mixed(batch, rows, number)
            yield {**batch, "number": (number - 1) * len(self) + place}

    def _mixed(self, batch: dict[str, Any], rows: Tensor, number: int) -> dict[str, Any]:
        assert self._real is not None
        drawn = uniforms(rows, seed=self._seed, epoch=number, draws=2).double()
        real = self._batch(1, self._real, (drawn[:, 1] * len(self._real)).long().clamp(max=len(self._real) - 1))
        taken = (drawn[:, 0] < self._share).to(self._device)
        mixed: dict[str, Any] = {}
        for key, value in batch.items():
            other = real[key]
            if value is None or other is None:
                mixed[key] = None
                continue
            mixed[key] = torch.where(taken.view(-1, *[1] * (value.ndim - 1)), other, value)
        return mixed

    def _batch(self, number: int, store: Pairs, rows: Tensor) -> dict[str, Any]:
        held = self._held.get(number)
        if held is None:
            labels = store.labels(rows)
            return {
                "x": store.images(rows).to(self._device),
                "z": _noise(store, rows, self._device),
                "labels": labels.to(self._device) if labels is not None else None,
            }
        at = rows.to(self._device)
        images = held.images[at]
        return {
            "x": as_signed(images) if images.dtype == torch.uint8 else images.float(),
            "z": held.noise[at],
            "labels": held.labels[at] if held.labels is not None else None,
        }


def _noise(store: Pairs, rows: Tensor, device: torch.device) -> Tensor:
    """Noise on a device; what an index gives is made there, where it is quick."""
    if store.manifest.stores_noise or device.type == "mps":  # which has no double precision
        return store.noise(rows).to(device)
    return store.manifest.noise(rows.to(device))


def _held_bytes(store: Pairs) -> int:
    about = store.manifest
    return len(store) * int(np.prod(about.image_shape)) * (_BYTES[about.kept] + 4)


def _hold(store: Pairs, device: torch.device, rows: int = 8192) -> _Held:
    about, size = store.manifest, (len(store), *store.manifest.image_shape)
    # Filled in place: joining parts would take the memory twice.
    images = torch.empty(size, dtype=getattr(torch, about.kept), device=device)
    noise = torch.empty(size, device=device)
    labels = torch.empty(len(store), dtype=torch.int64, device=device) if about.classes else None
    for first in range(0, len(store), rows):
        span = torch.arange(first, min(first + rows, len(store)))
        images[first : first + rows] = store._rows("images", span).to(device)
        noise[first : first + rows] = _noise(store, span, device)
        told = store.labels(span)
        if labels is not None and told is not None:
            labels[first : first + rows] = told.to(device)
    return _Held(images, noise, labels)
