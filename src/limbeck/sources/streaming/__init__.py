"""Sets that do not fit into memory: read piece by piece, in an order that is still a pure function of the seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy

_PUBLIC = {
    "Retries": "retries",
    "StreamLoader": "loader",
    "StreamSource": "source",
    "check_unchanged": "unchanged",
    "from_iterable": "hf_stream",
    "hf_stream": "hf_stream",
    "loader_of": "loader",
    "parquet_stream": "parquet_stream",
    "part_of": "loader",
}

if TYPE_CHECKING:
    from limbeck.sources.streaming.hf_stream import from_iterable, hf_stream
    from limbeck.sources.streaming.loader import StreamLoader, loader_of, part_of
    from limbeck.sources.streaming.parquet_stream import parquet_stream
    from limbeck.sources.streaming.retries import Retries
    from limbeck.sources.streaming.source import StreamSource
    from limbeck.sources.streaming.unchanged import check_unchanged

__all__ = [
    "Retries",
    "StreamLoader",
    "StreamSource",
    "check_unchanged",
    "from_iterable",
    "hf_stream",
    "loader_of",
    "parquet_stream",
    "part_of",
]

make_lazy(__name__)
