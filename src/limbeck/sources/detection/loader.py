"""Batches of images with boxes, whose order and augmentation are pure functions of (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import torch
from torch import Generator, Tensor

from limbeck.errors import DataError, InputError
from limbeck.protocols import Batch, DetectionSource
from limbeck.seeding import generator, permutation
from limbeck.sources.detection.augment import keeps_objects
from limbeck.sources.detection.reader import Packed, Reader, packed
from limbeck.sources.detection.sample import View, training_view

DetectionAugment = Callable[[View, Generator], View]


class DetectionLoader:
    """Batches of a detection source, for one epoch at a time.

    Any batch can be made without the ones before it, and is the same with any number of loader processes. Crowds
    are left out of the targets; images without objects stay.

    Args:
        source: the images with boxes.
        batch_size: images a batch, over all processes together.
        seed: of order and augmentation.
        shuffle: another order every epoch.
        drop_last: leave out a last batch that is not full.
        augment: functions of (view, generator), in order.
        workers: loader processes, kept from one epoch to the next; they decode and augment.
        prefetch: batches that each of them has ready.
        device: where batches go.
        rank: number of this process.
        world: number of processes; each takes a contiguous part of every batch. Where a batch does not divide
            evenly the parts differ by one image; where it has fewer images than there are processes, as the last
            one of an epoch may, some take the same image: a detector learns from one at least.

    Raises:
        DataError: settings that make no batch.

    Example:
        >>> from limbeck.sources.detection import digit_scenes, flip
        >>> loader = DetectionLoader(digit_scenes(count=20), batch_size=8, seed=0, augment=[flip])
        >>> batch = next(loader.epoch(1, start=2))
        >>> len(batch["images"]), batch["images"][0].shape, sorted(batch["targets"][0]), batch["index"].shape
        (4, torch.Size([3, 96, 96]), ['boxes', 'labels', 'objects'], torch.Size([4]))
    """

    def __init__(
        self,
        source: DetectionSource,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool = True,
        drop_last: bool = False,
        augment: Sequence[DetectionAugment] = (),
        workers: int = 0,
        prefetch: int = 2,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.source = source
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.augment = tuple(augment)
        self.workers = workers
        self.prefetch = prefetch
        self.device = torch.device(device)
        self.rank, self.world = rank, world
        self._check()
        self._make = Maker(source, self.augment, seed)
        self._kept: Reader | None = None

    @property
    def keeps_objects(self) -> bool:
        """Whether the augmentation leaves every object its pixels, so that what is known of one may be kept."""
        return all(keeps_objects(change) for change in self.augment)

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
            `images`, a list of float32 (3, h, w) in [0, 1], augmented and not normalised; `targets`, for each
            image `boxes` (k, 4) x1, y1, x2, y2 in its pixels, `labels` (k,) from 0 and `objects` (k,), the
            numbers of the objects in the source; `index` (n,) of the images in the source; `number` of the batch
            since the first epoch began, from 0.
        """
        parts = [part.tolist() for part in self._parts(self._order(number), start)]
        for place, found in enumerate(self._read(parts, number), (number - 1) * len(self) + start):
            if isinstance(found, InputError):
                raise found
            yield {**self._unpacked(found), "number": place}

    def _order(self, number: int) -> Tensor:
        count = len(self.source)
        return permutation(count, self.seed, number) if self.shuffle else torch.arange(count)

    def _parts(self, order: Tensor, start: int) -> Iterator[Tensor]:
        """Indices of this process's part of every batch from `start` on."""
        for batch in range(start, len(self)):
            first = batch * self.batch_size
            size = min(self.batch_size, len(self.source) - first)
            low, high = size * self.rank // self.world, size * (self.rank + 1) // self.world
            high = max(high, low + 1)
            yield order[first + low : first + high]

    def _read(self, parts: Sequence[Sequence[int]], epoch: int) -> Iterator[Packed | InputError]:
        if self.workers == 0:
            pinned = self.device.type == "cuda"
            for part in parts:
                batch = packed([self._make(index, epoch) for index in part])
                yield Packed(*(values.pin_memory() for values in batch)) if pinned else batch
            return
        keep = self._kept is None or not self._kept.busy
        if keep and self._kept is None:
            self._kept = Reader(self._make, self)
        # Several epochs under way at once need a reader each.
        reader = self._kept if keep and self._kept is not None else Reader(self._make, self)
        try:
            yield from reader.batches(parts, epoch)
        except Exception:
            keep, self._kept = False, None  # who knows in which state its processes are
            raise
        finally:
            if not keep:
                reader.close()

    def _unpacked(self, batch: Packed) -> Batch:
        """One copy to the device for all images together, and views of it."""
        pixels = batch.pixels.to(self.device, non_blocking=True).to(torch.float32).div_(255)
        shapes, counts = batch.shapes.tolist(), batch.counts.tolist()
        flat = pixels.split([3 * height * width for height, width in shapes])
        images = [part.view(3, height, width) for part, (height, width) in zip(flat, shapes, strict=True)]
        parts = [
            values.to(self.device, non_blocking=True).split(counts)
            for values in (batch.boxes, batch.labels, batch.objects)
        ]
        targets = [
            {"boxes": boxes, "labels": labels, "objects": objects}
            for boxes, labels, objects in zip(*parts, strict=True)
        ]
        return {"images": images, "targets": targets, "index": batch.which.to(self.device, non_blocking=True)}

    def _check(self) -> None:
        if self.batch_size < 1 or self.workers < 0 or self.prefetch < 1 or not 0 <= self.rank < self.world:
            raise DataError(
                "a loader needs batch_size >= 1, workers >= 0, prefetch >= 1 and 0 <= rank < world; got "
                f"batch_size {self.batch_size}, workers {self.workers}, prefetch {self.prefetch}, rank "
                f"{self.rank}, world {self.world}."
            )
        if self.batch_size < self.world:
            raise DataError(
                f"batch_size {self.batch_size} gives {self.world} processes no image each; it counts all of them."
            )
        if self.drop_last and len(self.source) < self.batch_size:
            raise DataError(
                f"drop_last with batch_size {self.batch_size} leaves nothing of {len(self.source)} images; "
                f"use a batch_size of at most {len(self.source)}."
            )


class Maker:
    """What training sees of one image in one epoch, whoever asks."""

    def __init__(self, source: DetectionSource, augment: Sequence[DetectionAugment], seed: int) -> None:
        self.source, self.augment, self.seed = source, augment, seed
        self._first = [0, *accumulate(source.box_counts)]

    def __call__(self, index: int, epoch: int) -> tuple[View, int]:
        """The augmented view, and the index."""
        view = training_view(self.source[index], self._first[index])
        for place, change in enumerate(self.augment):
            view = change(view, generator(self.seed, "augment", place, epoch, index))
        return view, index
