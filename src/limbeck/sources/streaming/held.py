"""The chunks that are in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from limbeck.sources.streaming.shards import Row


@dataclass(frozen=True, slots=True)
class Use:
    """When a chunk is used.

    Attributes:
        chunk: its number.
        rows: that it has.
        first: batch that uses it first.
        last: batch that uses it last.
    """

    chunk: int
    rows: int
    first: int
    last: int


class Held:
    """Chunks, read when a batch needs them and let go after the last one that does.

    Args:
        read: reads a chunk; always called in the order of `uses`.
        uses: of every chunk that is needed, in the order in which chunks are to be read.
        ahead: rows that may be in memory when chunks are read before they are needed, by a thread; 0 reads none
            before.
    """

    def __init__(self, read: Callable[[int], list[Row]], uses: Sequence[Use], *, ahead: int = 0) -> None:
        self._read, self._uses, self._ahead = read, uses, ahead
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="limbeck-read") if ahead else None
        self._here: dict[int, tuple[Use, list[Row] | Future[list[Row]]]] = {}
        self._rows = 0
        self._next = 0
        # A batch needs a chunk, and with it all that are read before.
        self._until: dict[int, int] = {}
        for place, use in enumerate(uses):
            self._until[use.first] = place + 1

    def at(self, batch: int) -> None:
        """Have what a batch needs. Batches come in order."""
        for chunk in [c for c, (use, _) in self._here.items() if use.last < batch]:
            self._rows -= self._here.pop(chunk)[0].rows
        until = self._until.get(batch, 0)
        while self._next < until:
            self._take()
        while self._next < len(self._uses) and self._rows + self._uses[self._next].rows <= self._ahead:
            self._take()

    def __getitem__(self, chunk: int) -> list[Row]:
        use, found = self._here[chunk]
        if isinstance(found, Future):
            found = found.result()
            self._here[chunk] = use, found
        return found

    def close(self) -> None:
        """Let everything go."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._here.clear()

    def _take(self) -> None:
        use = self._uses[self._next]
        self._next += 1
        self._rows += use.rows
        pool = self._pool
        self._here[use.chunk] = use, pool.submit(self._read, use.chunk) if pool else self._read(use.chunk)
