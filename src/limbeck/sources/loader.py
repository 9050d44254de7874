"""Batches whose order and augmentation are pure functions of (seed, epoch, index)."""

from __future__ import annotations

import atexit
import signal
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from limbeck.errors import DataError, InputError
from limbeck.protocols import Batch, Source
from limbeck.seeding import derive, generator, permutation, uniforms
from limbeck.sources.arrays import ArraySource
from limbeck.sources.augment import DRAWS
from limbeck.sources.mixing import Mix
from limbeck.sources.subset import Subset

Augment = Callable[[Tensor, Tensor], Tensor]

RESIDENT_BYTES = 4 * 2**30
"""Sets in memory up to this size are kept on the device; larger ones are copied batch by batch."""


class Loader:
    """Batches of a source, for one epoch at a time.

    Any batch can be made without the ones before it, so training resumes in mid-epoch with the very images it
    would have seen. Neither the order nor the augmentation touches torch's global random state, and both are the
    same with any number of loader processes.

    Args:
        source: the images.
        batch_size: images a batch, over all processes together.
        seed: of order and augmentation.
        shuffle: another order every epoch.
        drop_last: leave out a last batch that is not full.
        augment: functions of (images, draws), in order.
        source_views: ask the source for random parts of its images, where it has them (`folder` with
            `random_crop`).
        views: name -> augmentations of a further view of the same images, in the batch under that name.
        mix: MixUp and CutMix of the main view; the batch then has soft labels under `targets`.
        workers: loader processes, kept from one epoch to the next; sets that are in memory need none.
        prefetch: batches that each of them has ready.
        channels_last: images with channels innermost in memory.
        device: where batches go.
        rank: number of this process.
        world: number of processes; each takes a contiguous part of every batch. Where a batch does not divide
            evenly the parts differ by one image.

    Raises:
        DataError: settings that make no batch.

    Example:
        >>> from limbeck.sources import digits, flip
        >>> loader = Loader(digits(), batch_size=64, seed=0, augment=[flip])
        >>> batch = next(loader.epoch(1, start=3))
        >>> batch["images"].shape, batch["labels"].shape, batch["index"].shape
        (torch.Size([64, 1, 8, 8]), torch.Size([64]), torch.Size([64]))
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool = True,
        drop_last: bool = False,
        augment: Sequence[Augment] = (),
        source_views: bool = False,
        views: Mapping[str, Sequence[Augment]] | None = None,
        mix: Mix | None = None,
        workers: int = 0,
        prefetch: int = 2,
        channels_last: bool = False,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        _check(source, batch_size=batch_size, drop_last=drop_last, workers=workers, rank=rank, world=world)
        _check_names(views or {}, prefetch)
        self.source = source
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.augment = tuple(augment)
        self.views = {name: tuple(changes) for name, changes in (views or {}).items()}
        self.mix = mix
        self._source_views = source_views and hasattr(source, "view")
        self.workers = workers
        self.prefetch = prefetch
        self.channels_last = channels_last
        self.device = torch.device(device)
        self.rank, self.world = rank, world
        # With several processes the partner of the last image is elsewhere, so each fetches it again.
        self._fetches_partner = mix is not None and world > 1
        self._memory = _resident(source, self.device) if workers == 0 else None
        self._kept: _Reader | None = None

    def __len__(self) -> int:
        """Batches an epoch."""
        whole, rest = divmod(len(self.source), self.batch_size)
        return whole + (1 if rest and not self.drop_last else 0)

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch.

        Args:
            number: counted from 1.
            start: batches to leave out, e.g. those before the interruption.

        Yields:
            `images` in [0, 1], float32, augmented and not normalised; `labels`; `index` in the source; each
            further view under its name; with mixing `targets`, shape (n, classes).
        """
        order = self._order(number)
        batches = (
            self._from_memory(order, start) if self._memory is not None else self._loaded(order, start, number)
        )
        for at, (images, labels, index) in enumerate(batches, start):
            own = max(len(index) - 1, 0) if self._fetches_partner else len(index)
            batch = {
                "images": self._augmented(images, index, number, self.augment, "augment"),
                "labels": labels,
                "index": index,
            }
            batch |= {
                name: self._augmented(images[:own], index[:own], number, changes, f"augment/{name}")
                for name, changes in self.views.items()
            }
            if self.mix is not None:
                batch |= self._mixed(batch, own, epoch=number, at=at)
            if self.channels_last:
                for name in ("images", *self.views):
                    batch[name] = batch[name].contiguous(memory_format=torch.channels_last)
            yield batch

    def _mixed(self, batch: Batch, own: int, *, epoch: int, at: int) -> Batch:
        """The main view mixed, each image with the next of its batch; one fetched as a partner alone is gone."""
        assert self.mix is not None
        images, labels = batch["images"], batch["labels"]
        partners, others = images.roll(-1, 0)[:own], labels.roll(-1, 0)[:own]
        draw = self.mix.draw(derive(self.seed, "mix", epoch, at), images.shape[2], images.shape[3])
        return {
            "images": draw.images(images[:own], partners),
            "targets": draw.targets(labels[:own], others, len(self.source.class_names)),
            "labels": labels[:own],
            "index": batch["index"][:own],
        }

    def _order(self, number: int) -> Tensor:
        count = len(self.source)
        return permutation(count, self.seed, number) if self.shuffle else torch.arange(count)

    def _parts(self, order: Tensor, start: int) -> Iterator[Tensor]:
        """Indices of this process's part of every batch from `start` on, with the last one's partner behind it."""
        for batch in range(start, len(self)):
            first = batch * self.batch_size
            size = min(self.batch_size, len(self.source) - first)
            low, high = size * self.rank // self.world, size * (self.rank + 1) // self.world
            part = order[first + low : first + high]
            if self._fetches_partner and high > low:
                # The partner of an image is the next of the whole batch, that of the last one the first.
                part = torch.cat((part, order[first + high % size, None]))
            yield part

    def _from_memory(self, order: Tensor, start: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        assert self._memory is not None
        images, labels, rows = self._memory
        order = order.to(images.device)
        for index in self._parts(order, start):
            at = index if rows is None else rows[index]
            yield (
                images.index_select(0, at).to(self.device),
                labels.index_select(0, at).to(self.device),
                index.to(self.device),
            )

    def _loaded(self, order: Tensor, start: int, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        keep = self.workers > 0 and (self._kept is None or not self._kept.busy)
        reader = self._kept if keep and self._kept is not None else _Reader(self)
        if keep:
            self._kept = reader  # several epochs under way at once need one each
        empty = torch.empty((0, *self.source.image_shape), dtype=torch.uint8)
        try:
            for found in reader.batches([part.tolist() for part in self._parts(order, start)], epoch):
                if isinstance(found, InputError):
                    raise found
                images, labels, index = found
                yield (
                    (images if len(index) else empty).to(self.device, non_blocking=True),
                    labels.to(self.device, non_blocking=True),
                    index.to(self.device, non_blocking=True),
                )
        except Exception:
            keep, self._kept = False, None  # who knows in which state its processes are
            raise
        finally:
            if not keep:
                reader.close()

    def _augmented(
        self, images: Tensor, index: Tensor, epoch: int, changes: Sequence[Augment], purpose: str
    ) -> Tensor:
        draws = uniforms(index, seed=derive(self.seed, purpose), epoch=epoch, draws=DRAWS * len(changes))
        pixels = images
        for place, change in enumerate(changes):
            if pixels.dtype == torch.uint8 and not _takes_bytes(change):
                pixels = _fractions(pixels)
            pixels = change(pixels, draws[:, place * DRAWS : (place + 1) * DRAWS])
        return _fractions(pixels) if pixels.dtype == torch.uint8 else pixels


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract the mean of each channel and divide by its deviation.

    Args:
        images: in [0, 1], shape (n, c, h, w).
        mean: one a channel.
        std: one a channel.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: another number of channels.

    Example:
        >>> normalise(torch.ones(1, 1, 2, 2), (0.5,), (0.25,))[0, 0, 0, 0].item()
        2.0
    """
    if not len(mean) == len(std) == images.shape[1]:
        raise DataError(f"images have {images.shape[1]} channels; mean has {len(mean)} and std {len(std)} values.")
    if torch.compiler.is_compiling():
        shift, scale = _statistics(tuple(mean), tuple(std), images.device, images.dtype)
    else:
        shift, scale = _kept_statistics(tuple(mean), tuple(std), images.device, images.dtype)
    return (images - shift) / scale


def _statistics(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    shift = torch.tensor(mean, device=device, dtype=dtype).reshape(-1, 1, 1)
    return shift, torch.tensor(std, device=device, dtype=dtype).reshape(-1, 1, 1)


@lru_cache(maxsize=64)
def _kept_statistics(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    # Kept, since a copy to the device for every batch would stall it; usable under autograd wherever it was made.
    with torch.inference_mode(False):
        return _statistics(mean, std, device, dtype)


def _takes_bytes(change: Augment) -> bool:
    return getattr(getattr(change, "func", change), "on_bytes", False)


def _fractions(images: Tensor) -> Tensor:
    return images.to(torch.float32).div_(255)


def _check(source: Source, *, batch_size: int, drop_last: bool, workers: int, rank: int, world: int) -> None:
    if batch_size < 1 or workers < 0 or not 0 <= rank < world:
        raise DataError(
            f"a loader needs batch_size >= 1, workers >= 0 and 0 <= rank < world; got batch_size {batch_size}, "
            f"workers {workers}, rank {rank}, world {world}."
        )
    if batch_size < world:
        raise DataError(f"batch_size {batch_size} gives {world} processes no image each; it counts all of them.")
    if drop_last and len(source) < batch_size:
        raise DataError(
            f"drop_last with batch_size {batch_size} leaves nothing of {len(source)} images; "
            f"use a batch_size of at most {len(source)}."
        )


def _check_names(views: Mapping[str, Sequence[Augment]], prefetch: int) -> None:
    taken = sorted(set(views) & {"images", "labels", "index", "targets"})
    if taken:
        raise DataError(f"a view cannot be named '{taken[0]}', which every batch has already.")
    if prefetch < 1:
        raise DataError(f"a loader needs prefetch >= 1; got {prefetch}.")


def _resident(source: Source, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """Images, labels and rows of a source in memory, on the device if they fit; None for others."""
    rows: Tensor | None = None
    whole: Source = source
    if isinstance(source, Subset):
        whole, rows = source.source, source.indices
    if not isinstance(whole, ArraySource):
        return None
    images, labels = whole.images, whole.labels
    if device.type == "cpu":
        return images, labels, rows  # nothing is copied
    if rows is not None:
        images, labels, rows = images[rows], labels[rows], None
    if images.numel() <= RESIDENT_BYTES:
        images, labels = images.to(device), labels.to(device)
    return images, labels, rows


class _Reader:
    """A DataLoader that makes whatever batches it is asked for, so that its processes serve all epochs."""

    def __init__(self, loader: Loader) -> None:
        self._wanted = _Wanted()
        more: dict[str, Any] = {"persistent_workers": True, "prefetch_factor": loader.prefetch}
        self._batches: DataLoader[Any] | None = DataLoader(
            _Indexed(loader.source, derive(loader.seed, "part") if loader._source_views else None),
            batch_sampler=self._wanted,
            num_workers=loader.workers,
            collate_fn=_stacked,
            pin_memory=loader.device.type == "cuda",
            # Of its own, or the loader would draw its workers' seeds from the global random state.
            generator=generator(loader.seed, "loader"),
            worker_init_fn=_leave_signals_to_the_parent,
            **(more if loader.workers > 0 else {}),
        )
        self._running: Iterator[Any] | None = None
        if loader.workers > 0:
            _READERS.add(self)
            weakref.finalize(loader, self.close).atexit = False

    @property
    def busy(self) -> bool:
        """Whether an epoch is under way."""
        return self._running is not None

    def batches(self, parts: Sequence[Sequence[int]], epoch: int) -> Iterator[Any]:
        """A batch of each list of indices."""
        assert self._batches is not None
        self._wanted.batches = [[(index, epoch) for index in part] for part in parts]
        self._running = iter(self._batches)
        try:
            # Held here alone, so that `close` ends its processes even in the middle of an epoch.
            while self._running is not None:
                found = next(self._running, None)
                if found is None:
                    break
                yield found
        finally:
            self._running = None

    def close(self) -> None:
        """End the processes."""
        if self._batches is not None:
            self._running = self._batches = None
            _READERS.discard(self)


# Held from here: if the garbage collector found a reader, its queues would be gone before its processes are told.
_READERS: set[_Reader] = set()


@atexit.register
def _close_readers() -> None:
    """Before Python waits for loader processes, which do not listen to signals."""
    for reader in list(_READERS):
        reader.close()


class _Wanted:
    """The batches that a reader is to make next, each a list of indices with the epoch."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, int]]] = []

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Indexed(Dataset[Any]):
    """A source whose items are asked for by index and epoch; an item that cannot be read is its error.

    A loader process that raised would wrap the message in a traceback.
    """

    def __init__(self, source: Source, seed: int | None) -> None:
        self.source, self.seed = source, seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, int] | InputError:
        index, epoch = key
        try:
            image, label = self._read(index, epoch)
        except InputError as error:
            return error
        return image, label, index

    def _read(self, index: int, epoch: int) -> tuple[Tensor, int]:
        if self.seed is None:
            return self.source[index]
        draws = uniforms(torch.tensor([index]), seed=self.seed, epoch=epoch, draws=4)[0]
        image, label = self.source.view(index, draws.tolist())  # type: ignore[attr-defined]
        return image, label


def _stacked(items: list[Any]) -> tuple[Tensor, Tensor, Tensor] | InputError:
    error = next((item for item in items if isinstance(item, InputError)), None)
    if error is not None:
        return error
    images = torch.stack([image for image, _, _ in items]) if items else torch.empty(0)
    labels = torch.tensor([label for _, label, _ in items], dtype=torch.int64)
    return images, labels, torch.tensor([index for _, _, index in items], dtype=torch.int64)


def _leave_signals_to_the_parent(worker: int) -> None:
    """A signal to the whole job must not take the workers away while the loop finishes its step and saves."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
