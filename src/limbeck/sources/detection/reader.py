"""Loader processes for images with boxes: each batch crosses over as a few flat tensors."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from limbeck.errors import InputError
from limbeck.seeding import generator
from limbeck.sources.detection.sample import View
from limbeck.sources.loader import _leave_signals_to_the_parent, _Wanted

if TYPE_CHECKING:
    from limbeck.sources.detection.loader import DetectionLoader

Make = Callable[[int, int], tuple[View, int]]


class Packed(NamedTuple):
    """A batch in flat pieces: images differ in size, and every tensor that crosses over costs a file handle.

    Attributes:
        pixels: uint8, all images one after the other.
        shapes: int64 (n, 2), height and width of each.
        boxes: float32 (k, 4), of all images.
        labels: int64 (k,).
        objects: int64 (k,).
        counts: int64 (n,), objects of each image.
        which: int64 (n,), index of each image in the source.
    """

    pixels: Tensor
    shapes: Tensor
    boxes: Tensor
    labels: Tensor
    objects: Tensor
    counts: Tensor
    which: Tensor


def packed(items: Sequence[tuple[View, int]]) -> Packed:
    """Views and their indices as one batch, which may be empty."""
    views = [view for view, _ in items]
    return Packed(
        _joined([view.image.reshape(-1) for view in views], torch.empty(0, dtype=torch.uint8)),
        torch.tensor([(view.height, view.width) for view in views], dtype=torch.int64).reshape(-1, 2),
        _joined([view.boxes for view in views], torch.empty(0, 4)),
        _joined([view.labels for view in views], torch.empty(0, dtype=torch.int64)),
        _joined([view.objects for view in views], torch.empty(0, dtype=torch.int64)),
        torch.tensor([len(view.boxes) for view in views], dtype=torch.int64),
        torch.tensor([index for _, index in items], dtype=torch.int64),
    )


def _joined(tensors: Sequence[Tensor], empty: Tensor) -> Tensor:
    return torch.cat(list(tensors)) if tensors else empty


class Reader:
    """A DataLoader that makes whatever batches it is asked for, so that its processes serve all epochs."""

    def __init__(self, make: Make, loader: DetectionLoader) -> None:
        self._wanted = _Wanted()
        self._batches: DataLoader[Any] | None = DataLoader(
            _Made(make, len(loader.source)),
            batch_sampler=self._wanted,
            num_workers=loader.workers,
            collate_fn=_packed_or_error,
            pin_memory=loader.device.type == "cuda",
            # Of its own, or the loader would draw its workers' seeds from the global random state.
            generator=generator(loader.seed, "loader"),
            worker_init_fn=_leave_signals_to_the_parent,
            persistent_workers=True,
            prefetch_factor=loader.prefetch,
        )
        self._running: Iterator[Any] | None = None
        _READERS.add(self)
        weakref.finalize(loader, self.close).atexit = False

    @property
    def busy(self) -> bool:
        """Whether an epoch is under way."""
        return self._running is not None

    def batches(self, parts: Sequence[Sequence[int]], epoch: int) -> Iterator[Packed | InputError]:
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
_READERS: set[Reader] = set()


@atexit.register
def _close_readers() -> None:
    """Before Python waits for loader processes, which do not listen to signals."""
    for reader in list(_READERS):
        reader.close()


class _Made(Dataset[Any]):
    """Views asked for by index and epoch; what cannot be made is its error, which a traceback would wrap."""

    def __init__(self, make: Make, count: int) -> None:
        self._make, self._count = make, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, key: tuple[int, int]) -> tuple[View, int] | InputError:
        try:
            return self._make(*key)
        except InputError as error:
            return error


def _packed_or_error(items: list[tuple[View, int] | InputError]) -> Packed | InputError:
    good: list[tuple[View, int]] = []
    for item in items:
        if isinstance(item, InputError):
            return item
        good.append(item)
    return packed(good)
