"""One writer at a time in a run folder, by a lock that the kernel drops when its process dies."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from limbeck.errors import RunFolderError

FILE = ".lock"
_HELD: set[int] = set()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder inside the block.

    Args:
        folder: of the run.

    Raises:
        RunFolderError: another process holds it, or the folder may not be written.
    """
    path = folder / FILE
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RunFolderError(
            f"cannot write into the run folder {folder}: {error.strerror}. "
            "Choose one that you may write to (--out)."
        ) from error
    try:
        _take(handle, folder)
        _HELD.add(handle)
        yield
        os.ftruncate(handle, 0)
    finally:
        _HELD.discard(handle)
        os.close(handle)


def _take(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunFolderError(_refusal(handle, folder)) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        logging.getLogger("limbeck").warning("%s is on a file system without locks; keep to one process.", folder)
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with suppress(OSError):  # a full disk spoils the message of a second process, not the lock
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(holder).encode(), 0)


def _refusal(handle: int, folder: Path) -> str:
    try:
        holder = json.loads(os.pread(handle, 1000, 0))
        who = f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        who = "another process"
    return f"{folder} is being written by {who}. Wait until it is done, or choose another folder (--out)."


def _forget_in_child() -> None:
    # A forked data worker that outlives its killed parent would otherwise keep the lock alive.
    for handle in _HELD:
        with suppress(OSError):
            os.close(handle)
    _HELD.clear()


os.register_at_fork(after_in_child=_forget_in_child)
