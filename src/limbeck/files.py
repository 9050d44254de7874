"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from limbeck.errors import LimbeckError, RunFolderError, StorageError

_FORBIDDEN = {errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EISDIR}


def atomic_write(path: Path, data: bytes | str | Sequence[bytes | memoryview]) -> None:
    """Write a file whole or not at all: a temporary file beside it, flushed to disk, then renamed.

    Args:
        path: its folder exists.
        data: bytes, text to be written as UTF-8, or several pieces of bytes in order.

    Raises:
        StorageError: the disk is full or broke; what stood at `path` before is intact.
        RunFolderError: the folder may not be written.
    """
    text = data.encode() if isinstance(data, str) else data
    pieces = [text] if isinstance(text, bytes) else text
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp makes it private
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise _explained(error, path, sum(map(len, pieces))) from error


def append_line(path: Path, text: str) -> None:
    """Append one line.

    Raises:
        StorageError: the disk is full or broke; earlier lines are intact.
        RunFolderError: the file may not be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise _explained(error, path, len(text)) from error


def sha256_of(data: bytes | Path) -> str:
    """SHA-256 of bytes or of a file, in hexadecimal."""
    if isinstance(data, Path):
        with data.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(data).hexdigest()


def _explained(error: OSError, path: Path, size: int) -> LimbeckError:
    if error.errno in _FORBIDDEN or isinstance(error, FileNotFoundError):
        return RunFolderError(
            f"cannot write {path}: {error.strerror or error}. Choose a folder that you may write to (--out)."
        )
    return StorageError(
        f"writing {path} ({size:,} bytes) failed: {error.strerror or error}. What was written before is intact; "
        "make room and run the same command again."
    )
