"""Try again where a file system or a network may have hiccuped, and only there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_LOGGER = logging.getLogger("limbeck")
_NETWORK = frozenset({"aiohttp", "botocore", "httpcore", "httpx", "huggingface_hub", "requests", "urllib3"})
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_LONGEST = 60.0


@dataclass(frozen=True)
class Retries:
    """How often to try again, and how long to wait.

    Attributes:
        count: further attempts after the first.
        wait: seconds before the first of them; twice as long before each further one, a minute at most.
    """

    count: int = 5
    wait: float = 1.0

    def call(
        self,
        do: Callable[[], T],
        *,
        what: str,
        before: Callable[[], None] | None = None,
        stop: threading.Event | None = None,
    ) -> T:
        """The result of `do`, tried again after errors that may pass.

        Args:
            do: is called.
            what: is read, for the log.
            before: called before every further attempt, e.g. to close what is open.
            stop: no further attempt once it is set.

        Raises:
            Exception: the last error, once there are no attempts left, or one that will not pass.

        Example:
            >>> Retries().call(lambda: 3, what="nothing")
            3
        """
        for attempt in range(self.count):
            try:
                return do()
            except Exception as error:
                if not may_pass(error) or (stop is not None and stop.is_set()):
                    raise
                pause = min(self.wait * 2**attempt, _LONGEST)
                _LOGGER.warning(
                    "%s: %s; attempt %d of %d in %.3g s.", what, said(error), attempt + 2, self.count + 1, pause
                )
            (stop or threading.Event()).wait(pause)
            if before is not None:
                before()
        return do()


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed a moment later.

    Example:
        >>> may_pass(ConnectionResetError()), may_pass(FileNotFoundError()), may_pass(ValueError())
        (True, False, False)
    """
    if isinstance(error, _LASTING):
        return False
    if isinstance(error, OSError):
        return True
    return any(kind.__module__.split(".")[0] in _NETWORK for kind in type(error).__mro__)


def said(error: BaseException) -> str:
    """An error's kind and first line.

    Example:
        >>> said(OSError("gone"))
        'OSError: gone'
    """
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
