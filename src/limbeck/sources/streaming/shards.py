"""What a streamed set is made of: shards, read in chunks of known size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

Row = tuple[bytes | None, Any]
"""An encoded image, None where there is none, and its label as it is written."""


class Reader(Protocol):
    """Reads chunks; one for each thread."""

    def read(self, chunk: int) -> list[Row]:
        """All rows of a chunk.

        Raises:
            DataError: the shard is damaged, or not what it was; trying again does not help.
            OSError: it cannot be read now.
        """
        ...

    def close(self) -> None:
        """Let go of what is open; a later read opens it again."""
        ...


class Shards(Protocol):
    """The files of one split. A chunk is the least that is read at once: a row group, a stretch of rows."""

    @property
    def what(self) -> str:
        """The set, for messages."""
        ...

    @property
    def sizes(self) -> Sequence[int]:
        """Rows of every chunk; rows are numbered through in this order."""
        ...

    @property
    def manifest(self) -> Mapping[str, Sequence[int]]:
        """Name of every shard -> size in bytes, where known, and rows; what is compared between runs."""
        ...

    def visits(self, seed: int, epoch: int) -> Tensor:
        """Chunks in the order in which a shuffled epoch reads them, shape (chunks,), int64."""
        ...

    def spread(self, count: int) -> list[int]:
        """At most so many chunks that stand for the whole, cheap to reach."""
        ...

    def reader(self) -> Reader:
        """A reader of its own."""
        ...

    def labels(self) -> list[Any]:
        """The label of every row as it is written; a pass over the labels alone."""
        ...

    def place(self, chunk: int) -> str:
        """A chunk, for messages."""
        ...

    def row_name(self, chunk: int, row: int) -> str:
        """A row of a chunk, for messages."""
        ...
