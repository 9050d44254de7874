"""A teacher that was stored: it answers like one that runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.classify.config import Training
from limbeck.classify.data import Data
from limbeck.classify.signals import LOGITS_KEY, TAP_KEY
from limbeck.classify.stored.contents import ShardKey
from limbeck.classify.stored.manifest import Manifest, differences, find
from limbeck.classify.stored.shard import Shard
from limbeck.classify.stored.top_logits import expanded
from limbeck.classify.teachers import Teacher
from limbeck.errors import CheckpointError, did_you_mean


class StoredTeacher:
    """What a teacher put out, read back for the batches of one seed.

    Numbers are read through memory maps, a batch at a time, and come as float32 on the device of the images. A
    shard's checksum is compared when the first batch needs it. To make sure that a store fits a student use
    `open_store`.

    Args:
        folder: of the store.
        seed: of the student's training stream.
        taps: module paths to give besides the logits.

    Raises:
        CheckpointError: no store, a damaged or newer one, one without this seed, or without a tapped feature.

    """

    def __init__(self, folder: Path, *, seed: int, taps: Iterable[str] = ()) -> None:
        self.folder = folder
        self.manifest = Manifest.read(folder)
        self._taps = sorted(set(taps))
        problems = [*_missing_taps(self.manifest, self._taps), *_missing_views(self.manifest, seed, 1)]
        if problems:
            raise _refused(folder, problems)
        self._seed = seed if self.manifest.seeds else None
        self._names = [n for n in self.manifest.contents.tensors() if n in self._given()]
        self._shards: dict[ShardKey, Shard] = {}
        self._verified: set[ShardKey] = set()
        self._places: tuple[int | None, np.ndarray[Any, Any]] | None = None

    @property
    def frozen(self) -> Mapping[str, nn.Module]:
        """No network: nothing runs."""
        return {}

    def start_epoch(self, epoch: int) -> None:
        """Let go of the shards of other epochs.

        Args:
            epoch: counted from 1.

        Raises:
            CheckpointError: the store has no such epoch.
        """
        lines = _missing_views(self.manifest, self._seed, epoch)
        if lines:
            raise _refused(self.folder, lines)
        if self.manifest.epochs:
            self.close()

    def signals(self, images: Tensor, index: Tensor, epoch: int) -> dict[str, Tensor]:
        """What the teacher put out for these views.

        Args:
            images: only their device matters.
            index: of the images in the training set, shape (n,), int64.
            epoch: counted from 1.

        Raises:
            CheckpointError: a shard is missing or damaged, or an image or epoch was not stored.
        """
        found = self._rows(index.cpu().numpy(), epoch if self.manifest.epochs else None)
        contents = self.manifest.contents
        if contents.top is None:
            logits = found["logits"]
        else:
            logits = expanded(found["top_logits"], found["top_classes"], found["rest"], contents.classes)
        signals = {LOGITS_KEY: logits} | {f"{TAP_KEY}{path}": found[f"tap:{path}"] for path in self._taps}
        return {name: value.to(images.device, non_blocking=True) for name, value in signals.items()}

    def close(self) -> None:
        """Close the files."""
        self._shards = {}
        self._places = None

    def _given(self) -> set[str]:
        return {"logits", "top_logits", "top_classes", "rest", *(f"tap:{path}" for path in self._taps)}

    def _rows(self, index: np.ndarray[tuple[int], np.dtype[np.int64]], epoch: int | None) -> dict[str, Tensor]:
        grid = self.manifest.grid
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < grid.samples:
            raise CheckpointError(
                f"{self.folder} holds images 0 to {grid.samples - 1}; a batch asks for {int(index.min())} to "
                f"{int(index.max())}. Is it the store of this training set?"
            )
        rows_of_pass = self._where(epoch)[index]
        parts, at = np.divmod(rows_of_pass, grid.rows)
        numbers = np.unique(parts).tolist() or [0]
        if len(numbers) == 1:  # the batches of the same stream and size: rows that stand together
            return self._checked(ShardKey(self._seed, epoch, numbers[0])).rows(at, self._names)
        found: dict[str, Tensor] = {}
        for number in numbers:
            here = np.nonzero(parts == number)[0]
            rows = self._checked(ShardKey(self._seed, epoch, number)).rows(at[here], self._names)
            for name, value in rows.items():
                whole = found.setdefault(name, value.new_empty((len(index), *value.shape[1:])))
                whole[torch.from_numpy(here)] = value
        return found

    def _where(self, epoch: int | None) -> np.ndarray[Any, Any]:
        """The row of the pass in which each image stands."""
        if self._places is None or self._places[0] != epoch:
            grid = self.manifest.grid
            places = np.full(grid.samples, -1, dtype=np.int64)
            for part in range(grid.parts):
                shard = self._shard(ShardKey(self._seed, epoch, part))
                if bool(((shard.index < 0) | (shard.index >= grid.samples)).any()):
                    shard.verify()
                    raise CheckpointError(f"{shard.file} holds images that are not in the set.")
                places[shard.index] = grid.span(part)
            if bool((places < 0).any()):
                for key in list(self._shards):
                    self._checked(key)
                raise CheckpointError(f"{self.folder}: epoch {epoch} lacks images of the set; store it again.")
            self._places = epoch, places
        return self._places[1]

    def _checked(self, key: ShardKey) -> Shard:
        shard = self._shard(key)
        if key not in self._verified:
            shard.verify()
            self._verified.add(key)
        return shard

    def _shard(self, key: ShardKey) -> Shard:
        if key not in self._shards:
            manifest, span = self.manifest, self.manifest.grid.span(key.part)
            self._shards[key] = Shard(
                self.folder, key, contents=manifest.contents, store=manifest.digest, span=span
            )
        return self._shards[key]


def open_store(
    path: str | Path,
    *,
    teacher: Teacher,
    data: Data,
    training: Training,
    seed: int,
    taps: Iterable[str] = (),
) -> StoredTeacher:
    """Open a store for one student, after making sure that it holds what this student would have been shown.

    Args:
        path: the folder of the store, of the stage that wrote it, or of a run with one such stage.
        teacher: whose outputs they have to be; it does not run.
        data: of the student.
        training: its augmentations, epochs and batches.
        seed: of the student.
        taps: module paths in the teacher that its terms read.

    Raises:
        CheckpointError: another teacher, other data, another augmentation, seeds, epochs or taps that are not
            there, a store that was not finished, of a newer format, or damaged. One error names all differences.

    Example:
        >>> import tempfile
        >>> from limbeck.classify.stored import Views, contents_of, write_store
        >>> from limbeck.classify.data import split_data
        >>> from limbeck.classify.stages import as_teacher
        >>> from limbeck.engine import Machine
        >>> from limbeck.models import build
        >>> from limbeck.sources import digits
        >>> data = split_data(digits(per_class=2), digits(split="test"), validation=0.0, seed=0)
        >>> machine, folder = Machine(device="cpu"), Path(tempfile.mkdtemp()) / "store"
        >>> teacher = as_teacher(build("resnet8", num_classes=10, in_channels=1), data, machine)
        >>> _ = write_store(
        ...     folder, teacher=teacher, source=data.train, views=Views(seeds=(0,), epochs=1),
        ...     contents=contents_of(teacher), machine=machine,
        ... )
        >>> stored = open_store(folder, teacher=teacher, data=data, training=Training(epochs=9), seed=3)
        >>> stored.signals(torch.zeros(2, 1, 8, 8), torch.tensor([4, 1]), 7)["teacher"].shape
        torch.Size([2, 10])
    """
    folder = find(Path(path))
    manifest = Manifest.read(folder)
    epochs = epochs_of(training, len(data.train))
    problems = [
        *differences(manifest, teacher=teacher, source=data.train, augment=training.augment),
        *_missing_views(manifest, seed, epochs),
        *_missing_taps(manifest, taps),
    ]
    problems = problems or _missing_files(folder, manifest, seed, epochs)
    if problems:
        raise _refused(folder, problems)
    return StoredTeacher(folder, seed=seed, taps=taps)


def epochs_of(training: Training, images: int) -> int:
    """Epochs that a training begins, the last of which may be cut short by `steps`.

    Args:
        training: epochs, steps, batches.
        images: of the training set.
    """
    if training.steps is None:
        return training.epochs
    batches = max(1, -(-images // training.batch_size))
    return math.ceil(training.steps / math.ceil(batches / training.accumulation))


def _missing_views(manifest: Manifest, seed: int | None, epoch: int) -> list[str]:
    if not manifest.epochs:
        return []
    lines = []
    if seed not in manifest.seeds:
        lines.append(f"seed: stored {', '.join(map(str, manifest.seeds))}, here {seed}")
    if epoch > manifest.epochs:
        lines.append(f"epochs: stored 1 to {manifest.epochs}, here up to {epoch}")
    return lines


def _missing_taps(manifest: Manifest, taps: Iterable[str]) -> list[str]:
    stored = manifest.contents.taps
    listed = ", ".join(stored) or "none"
    return [
        f"taps: '{path}' was not stored.{did_you_mean(path, stored)} Stored: {listed}"
        for path in sorted(set(taps))
        if path not in stored
    ]


def _missing_files(folder: Path, manifest: Manifest, seed: int, epochs: int) -> list[str]:
    parts = range(manifest.grid.parts)
    keys = [ShardKey(seed, epoch, part) for epoch in range(1, epochs + 1) for part in parts]
    if not manifest.epochs:
        keys = [ShardKey(None, None, part) for part in parts]
    missing = [key.file_name for key in keys if not (folder / key.file_name).is_file()]
    if not missing:
        return []
    return [f"shards: {len(missing)} of {len(keys)} are missing ({missing[0]} first); the stage was not finished"]


def _refused(folder: Path, problems: list[str]) -> CheckpointError:
    return CheckpointError(
        f"the teacher's outputs in {folder} do not serve this student:\n  "
        + "\n  ".join(problems)
        + "\nStore them again (kind: classify.store_teacher) with this teacher, source, augmentation, seeds and "
        "taps; or leave `stored` out, and the teacher runs."
    )
