"""Run an iterator in a thread of its own, a few items ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_POLL = 0.1


class _End:
    """After the last item."""


@dataclass(frozen=True)
class _Failed:
    """In place of an item."""

    error: BaseException


def in_background(items: Generator[T, None, None], *, depth: int, stop: threading.Event) -> Iterator[T]:
    """The items of a generator, made by a thread.

    The thread ends with the iteration, also where that is given up half way: `stop` is set, the generator closed.

    Args:
        items: is run and closed in the thread.
        depth: items that may wait.
        stop: set when nothing more is wanted, so that the generator can leave early.

    Raises:
        Exception: whatever the generator raises, in its place.

    Example:
        >>> list(in_background((i * i for i in range(4)), depth=2, stop=threading.Event()))
        [0, 1, 4, 9]
    """
    unwanted = threading.Event()  # of its own: the generator may set `stop` when it leaves
    made: queue.Queue[T | _Failed | _End] = queue.Queue(depth)

    def put(thing: T | _Failed | _End) -> bool:
        while not unwanted.is_set():
            try:
                made.put(thing, timeout=_POLL)
            except queue.Full:
                continue
            return True
        return False

    def run() -> None:
        try:
            if all(put(item) for item in items):
                put(_End())
        except BaseException as error:
            put(_Failed(error))
        finally:
            items.close()

    thread = threading.Thread(target=run, name="limbeck-stream", daemon=True)
    thread.start()
    try:
        while not isinstance(found := made.get(), _End):
            if isinstance(found, _Failed):
                raise found.error
            yield found
    finally:
        unwanted.set()
        stop.set()
        thread.join()
