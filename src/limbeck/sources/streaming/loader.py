"""Batches of a streamed set, in an order that is a pure function of (seed, epoch)."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.protocols import Source
from limbeck.seeding import derive, uniforms
from limbeck.sources.loader import Loader
from limbeck.sources.streaming.background import in_background
from limbeck.sources.streaming.held import Held, Use
from limbeck.sources.streaming.shards import Row
from limbeck.sources.streaming.source import StreamSource
from limbeck.sources.subset import Subset

_LOGGER = logging.getLogger("limbeck")
_Sample = tuple[Tensor, int, int]


class StreamLoader(Loader):
    """What `Loader` is for sets in memory: the same batches, augmentation, views and mixing, read as they come.

    An epoch visits the chunks of the set in a random order and shuffles rows within windows of about
    `source.buffer` rows; each row comes exactly once. Batch k of an epoch is made without the batches before it,
    by reading the chunks that it and those after it need, so a resumed run goes on with the very images. Every
    process takes its contiguous part of every batch: it decodes its own images alone, but reads nearly all chunks.

    Where damaged images are left out (`skip_broken`), batches of a shuffled stream stay as large as they were: the
    next good image of the same chunk stands in, whatever the batch and the process. Others go without them.

    Args:
        source: a `StreamSource`.
        settings: those of `Loader`. `workers` are threads here, which decode while another reads, `prefetch`
            batches ahead; 0 does both when a batch is asked for.

    Raises:
        DataError: no streamed source, or settings that make no batch; while reading, with shard and position.

    Example:
        >>> from limbeck.sources.streaming.source import StreamSource
        >>> loader = StreamLoader(source, batch_size=64, seed=0, workers=4)  # doctest: +SKIP
        >>> batch = next(loader.epoch(1, start=1000))  # doctest: +SKIP
    """

    source: StreamSource

    def __init__(self, source: Source, **settings: Any) -> None:
        if not isinstance(source, StreamSource):
            raise DataError(f"a StreamLoader reads a StreamSource, not a {type(source).__name__}; use a Loader.")
        super().__init__(source, **settings)
        # Known from here on, so that an image of another size is told from the first.
        _ = source.image_shape

    def _order(self, number: int) -> Tensor:
        if self.shuffle:
            return self.source.order(seed=self.seed, epoch=number)
        return torch.arange(len(self.source))

    def _loaded(self, order: Tensor, start: int, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        parts = list(self._parts(order, start))
        stop = threading.Event()
        decoded = self._decoded(parts, start, epoch, stop)
        made = in_background(decoded, depth=self.prefetch, stop=stop) if self.workers > 0 else decoded
        for tensors in made:
            images, labels, index = (t.pin_memory() if self.device.type == "cuda" else t for t in tensors)
            yield (
                images.to(self.device, non_blocking=True),
                labels.to(self.device, non_blocking=True),
                index.to(self.device, non_blocking=True),
            )

    def _decoded(
        self, parts: Sequence[Tensor], start: int, epoch: int, stop: threading.Event
    ) -> Generator[tuple[Tensor, Tensor, Tensor], None, None]:
        """Images as uint8, labels and indices of every part, on the CPU."""
        source = self.source
        reader = source.shards.reader()
        ahead = 2 * source.buffer if self.workers > 0 else 0
        held = Held(lambda chunk: source.read(reader, chunk, stop), self._uses(parts, epoch), ahead=ahead)
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="limbeck-decode") if self.workers > 0 else None
        many: Callable[..., Iterator[_Sample | None]] = pool.map if pool is not None else map
        before = len(source.damaged)
        try:
            for at, part in enumerate(parts):
                try:
                    held.at(at)
                    yield self._stacked(part, epoch, held, many)
                except DataError as error:
                    raise DataError(
                        f"{error} This was batch {start + at + 1} of {len(self)} in epoch {epoch}; what was "
                        "saved before is intact, and the same command continues from there."
                    ) from error
        finally:
            stop.set()
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)
            held.close()
            reader.close()
        if len(source.damaged) > before:
            _LOGGER.warning(
                "%s: %d images could not be decoded so far and were left out.",
                source.shards.what,
                len(source.damaged),
            )

    def _stacked(
        self, part: Tensor, epoch: int, held: Held, many: Callable[..., Iterator[_Sample | None]]
    ) -> tuple[Tensor, Tensor, Tensor]:
        source = self.source
        chunks, rows = (found.tolist() for found in source.locate(part))
        # Looked up here: chunks belong to one thread.
        content = [held[chunk] for chunk in chunks]
        draws: Iterable[list[float] | None] = itertools.repeat(None)
        if self._source_views and source.random_crop is not None:
            draws = uniforms(part, seed=derive(self.seed, "part"), epoch=epoch, draws=4).tolist()
        samples = [s for s in many(self._sample, content, chunks, rows, part.tolist(), draws) if s is not None]
        empty = torch.empty((0, *source.image_shape), dtype=torch.uint8)
        return (
            torch.stack([image for image, _, _ in samples]) if samples else empty,
            torch.tensor([label for _, label, _ in samples], dtype=torch.int64),
            torch.tensor([index for _, _, index in samples], dtype=torch.int64),
        )

    def _sample(
        self, content: list[Row], chunk: int, row: int, index: int, draws: list[float] | None
    ) -> _Sample | None:
        source = self.source
        label = source.label(content, chunk, row)
        image = source.image(content, chunk, row, draws)
        if not isinstance(image, OSError):
            return image, label, index
        source.leave_out(chunk, row, image)
        return source.stand_in(content, chunk, row, draws) if self.shuffle else None

    def _uses(self, parts: Sequence[Tensor], epoch: int) -> list[Use]:
        """The chunks that the parts need, in the order in which they are to be read, with their first and last."""
        source = self.source
        count = len(source.shards.sizes)
        first = torch.full((count,), len(parts))
        last = torch.full((count,), -1)
        if parts:
            batch = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor([len(p) for p in parts]))
            chunks = source.locate(torch.cat(list(parts)))[0]
            first.scatter_reduce_(0, chunks, batch, "amin")
            last.scatter_reduce_(0, chunks, batch, "amax")
        visits = source.shards.visits(self.seed, epoch) if self.shuffle else torch.arange(count)
        needed = visits[last[visits] >= 0].tolist()
        return [Use(c, source.shards.sizes[c], int(first[c]), int(last[c])) for c in needed]


def loader_of(source: Source) -> type[Loader]:
    """The class that makes batches of a source: `StreamLoader` for streamed ones, else `Loader`.

    Example:
        >>> from limbeck.sources import digits
        >>> loader_of(digits(per_class=1)).__name__
        'Loader'
    """
    return StreamLoader if isinstance(source, StreamSource) else Loader


def part_of(source: Source, indices: Sequence[int] | Tensor) -> Source:
    """Some images of a source: of a streamed one in the order of its shards, else a `Subset` in the order given.

    Args:
        source: the whole.
        indices: of the images.

    Raises:
        DataError: no index, or one out of range.

    Example:
        >>> from limbeck.sources import digits
        >>> len(part_of(digits(split="test"), [4, 2]))
        2
    """
    return source.part(indices) if isinstance(source, StreamSource) else Subset(source, indices)
