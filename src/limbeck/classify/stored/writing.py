"""Run a teacher over every view and keep what it puts out; what is on disk already is kept."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from limbeck.classify.signals import LOGITS_KEY, TAP_KEY, LiveTeacher
from limbeck.classify.stored.contents import Contents, ShardKey, StorePlan, grid_of, plan
from limbeck.classify.stored.manifest import (
    FILE_NAME,
    Manifest,
    compared,
    data_fingerprint,
    teacher_fingerprint,
)
from limbeck.classify.stored.shard import AGAIN, Shard, write_shard
from limbeck.classify.stored.top_logits import compressed
from limbeck.classify.stored.views import Views, views_fingerprint
from limbeck.classify.teachers import Teacher
from limbeck.engine import Machine
from limbeck.engine.interrupt import StopFlag, stop_flag
from limbeck.errors import CheckpointError, Interrupted, NonFiniteError, RunFolderError, StorageError
from limbeck.protocols import Batch, Source
from limbeck.sources import Loader

_LOGGER = logging.getLogger("limbeck")
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def contents_of(
    teacher: Teacher, *, top: int | None = None, taps: Sequence[str] = (), dtype: str = "float32"
) -> Contents:
    """What a store of this teacher will hold; its example is sent through it once.

    Args:
        teacher: on its device.
        top: how many of the largest logits; None keeps all.
        taps: module paths or patterns.
        dtype: "float32", "float16" or "bfloat16".

    Raises:
        TapError: a path that matches no module or does not fire.
        ConfigError: a number of logits that leaves none out.
    """
    live = LiveTeacher(teacher, taps)
    try:
        found = live.signals(teacher.example, torch.arange(len(teacher.example)), 1)
    finally:
        live.close()
    shapes = {name.removeprefix(TAP_KEY): tuple(v.shape[1:]) for name, v in found.items() if name != LOGITS_KEY}
    return Contents(classes=found[LOGITS_KEY].shape[1], top=top, taps=shapes, dtype=dtype)


@dataclass(frozen=True)
class Written:
    """What storing came to.

    Attributes:
        plan: of the whole store.
        shards: written now.
        images: that the teacher saw now, in this process.
        bytes: of the store on disk.
    """

    plan: StorePlan
    shards: int
    images: int
    bytes: int


def write_store(
    folder: Path,
    *,
    teacher: Teacher,
    source: Source,
    views: Views,
    contents: Contents,
    machine: Machine,
    batch_size: int = 64,
    workers: int = 0,
    extends: Path | None = None,
    title: str = "storing",
    progress: bool = False,
) -> Written:
    """Write a store, finish one that was stopped, or add epochs and seeds to one.

    Every process takes its share of the shards. A store of more seeds or epochs than are asked for keeps them.

    Args:
        folder: of the store; it is made.
        teacher: on the machine's device.
        source: the training images.
        views: seeds, epochs and augmentation.
        contents: of each view, see `contents_of`.
        machine: where the teacher runs, and its arithmetic.
        batch_size: of the teacher.
        workers: loader processes.
        extends: a store to take the shards over from, by hard links where the file system has them.
        title: for the progress line.
        progress: show it.

    Raises:
        CheckpointError: there is a store of another teacher, other data, views or contents.
        StorageError: it does not fit on the disk; nothing was written.
        NonFiniteError: the teacher puts out numbers that are not finite, or too large for the kind kept.
        Interrupted: a signal asked for a stop; finished shards are kept.
    """
    wanted = Manifest(
        teacher=teacher_fingerprint(teacher),
        data=data_fingerprint(source),
        views=views_fingerprint(views.augment),
        contents=contents,
        grid=grid_of(contents, samples=len(source), batch_size=batch_size),
        batch_size=batch_size,
        precision=machine.precision,
        seeds=views.seeds if views.augment else (),
        epochs=views.epochs if views.augment else 0,
    )
    if extends is not None:
        wanted = _merged(wanted, extends)
    if (folder / FILE_NAME).is_file():
        wanted = _merged(wanted, folder)
    whole = plan(contents, wanted.all_views, samples=len(source), batch_size=batch_size)
    keys = list(wanted.grid.keys(wanted.all_views))
    _make(folder)
    _refuse_if_full(folder, wanted, keys, whole, machine)
    if machine.main:
        _LOGGER.info("%s: %s", title, whole)
        if extends is not None:
            _take_over(extends, folder)
        wanted.write(folder)
    machine.wait()
    share = keys[len(keys) * machine.rank // machine.world : len(keys) * (machine.rank + 1) // machine.world]
    missing = [key for key in share if not _intact(folder, key, wanted)]
    live = LiveTeacher(teacher, contents.taps)
    run = _Run(folder, wanted, live, source, machine, batch_size, workers)
    try:
        with stop_flag() as flag:
            shown = f"{title} ({whole.passes:,} passes, {whole.bytes / 1e6:,.0f} MB)"
            done = run.write(missing, flag, title=shown if progress and machine.main else None)
            stopped = machine.any(bool(flag) and done < len(missing))
    finally:
        live.close()
    if stopped:
        raise Interrupted(
            f"stopped after {done} of {len(missing)} shards; they are kept. The same command continues from there."
        )
    machine.wait()
    return Written(whole, len(missing), run.images, _size(folder, keys))


@dataclass
class _Run:
    """The pass over the views, shard by shard."""

    folder: Path
    manifest: Manifest
    live: LiveTeacher
    source: Source
    machine: Machine
    batch_size: int
    workers: int
    images: int = 0

    def write(self, keys: Sequence[ShardKey], flag: StopFlag, *, title: str | None) -> int:
        """Write shards until all are done or a signal came; how many were written. A title shows progress."""
        from rich.progress import track

        batches: Iterator[Batch] = iter(())
        due: ShardKey | None = None
        shown = track(keys, description=title or "", transient=True, disable=title is None)
        for number, key in enumerate(shown):
            if flag:
                return number
            span = self.manifest.grid.span(key.part)
            if key != due:  # shards of one pass in a row share the loader's epoch
                loader = self._loader(key.seed)
                batches = loader.epoch(key.epoch or 1, start=span.start // self.batch_size)
            tensors = self._taught(itertools.islice(batches, -(-len(span) // self.batch_size)), key)
            write_shard(self.folder, key, tensors, store=self.manifest.digest, first=span.start)
            self.images += len(span)
            due = ShardKey(key.seed, key.epoch, key.part + 1)
        return len(keys)

    def _loader(self, seed: int | None) -> Loader:
        return self.manifest.all_views.loader(
            self.source, seed, batch_size=self.batch_size, machine=self.machine, workers=self.workers
        )

    def _taught(self, batches: Iterator[Batch], key: ShardKey) -> dict[str, Tensor]:
        """What the teacher puts out for the views of a shard, as it is kept."""
        contents = self.manifest.contents
        pieces: dict[str, list[Tensor]] = {name: [] for name in contents.tensors()}
        for batch in batches:
            with self.machine.autocast():
                found = self.live.signals(batch["images"], batch["index"], key.epoch or 1)
            for name, value in found.items():
                _check_finite(name, value, batch["index"], contents.dtype)
            kept = {"index": batch["index"].int().cpu(), **_kept(found, contents)}
            for name, value in kept.items():
                pieces[name].append(value)
        return {name: torch.cat(values) for name, values in pieces.items()}


def _kept(found: dict[str, Tensor], contents: Contents) -> dict[str, Tensor]:
    dtype = _DTYPES[contents.dtype]
    logits = found.pop(LOGITS_KEY)
    kept = {name: value.to(dtype).cpu() for name, value in found.items()}
    if contents.top is None:
        return {"logits": logits.to(dtype).cpu(), **kept}
    values, classes, rest = compressed(logits.float().cpu(), contents.top)
    place = getattr(torch, contents.tensors()["top_classes"][0])
    return {"top_logits": values.to(dtype), "top_classes": classes.to(place), "rest": rest, **kept}


def _check_finite(name: str, value: Tensor, index: Tensor, dtype: str) -> None:
    kept = value.to(_DTYPES[dtype])
    if bool(kept.isfinite().all()):
        return
    what = "logits" if name == LOGITS_KEY else f"feature '{name.removeprefix(TAP_KEY)}'"
    image = int(index[~kept.isfinite().reshape(len(kept), -1).all(1)][0])
    if bool(value.isfinite().all()):
        raise NonFiniteError(
            f"the teacher's {what} of image {image} reach {float(value.abs().max()):.4g}, beyond {dtype} "
            f"(largest {torch.finfo(_DTYPES[dtype]).max:.4g}). Store them as bfloat16 or float32."
        )
    raise NonFiniteError(f"the teacher's {what} of image {image} are not finite; nothing can be learnt from them.")


def _merged(wanted: Manifest, folder: Path) -> Manifest:
    """The store that stands there, with the seeds and epochs of both.

    Raises:
        CheckpointError: it is another store.
    """
    found = Manifest.read(folder)
    here, there = wanted.identity, found.identity
    lines = [
        line
        for name, value in here.items()
        for line in (
            compared(name, there[name], value)
            if isinstance(value, dict)
            else compared("store", {name: there[name]}, {name: value})
        )
    ]
    if lines:
        raise CheckpointError(
            f"{folder} holds a store of something else:\n  "
            + "\n  ".join(lines)
            + "\nWrite to another folder, or begin the stage again (--fresh)."
        )
    seeds = (*found.seeds, *(seed for seed in wanted.seeds if seed not in found.seeds))
    return replace(wanted, seeds=seeds, epochs=max(found.epochs, wanted.epochs))


def _intact(folder: Path, key: ShardKey, manifest: Manifest) -> bool:
    if not (folder / key.file_name).exists():
        return False
    span = manifest.grid.span(key.part)
    try:
        Shard(folder, key, contents=manifest.contents, store=manifest.digest, span=span).verify()
    except CheckpointError as error:
        _LOGGER.warning("%s It is written anew.", str(error).removesuffix(f" {AGAIN}"))
        return False
    return True


def _refuse_if_full(
    folder: Path, manifest: Manifest, keys: Sequence[ShardKey], whole: StorePlan, machine: Machine
) -> None:
    rows = sum(len(manifest.grid.span(key.part)) for key in keys if not (folder / key.file_name).exists())
    needed = whole.bytes * rows // max(whole.images, 1)
    free = shutil.disk_usage(folder).free
    if machine.any(needed > free):
        raise StorageError(
            f"{folder}: what is still to be stored takes {needed:,} bytes, and {free:,} are free on that disk "
            f"({whole}). Nothing was written. Make room, store top logits or float16 "
            "(outputs: {logits: {top: 20}, dtype: float16}), fewer taps or epochs, or leave augmentation out, "
            "so that one pass serves all epochs."
        )


def _size(folder: Path, keys: Sequence[ShardKey]) -> int:
    return sum((folder / key.file_name).stat().st_size for key in keys)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"cannot make {folder}: {error.strerror or error}.") from error


def _take_over(old: Path, folder: Path) -> None:
    """Every shard of another store, without a second copy where the file system can."""
    for file in sorted(old.glob("*.safetensors")):
        target = folder / file.name
        if target.exists():
            continue
        try:
            target.hardlink_to(file)
        except OSError:
            shutil.copyfile(file, target)
