"""Making folders, with an error that says the way out."""

from __future__ import annotations

import errno
from pathlib import Path

from limbeck.errors import RunFolderError, StorageError


def make_folder(path: Path) -> None:
    """Make a folder and what is missing above it.

    Args:
        path: of the folder.

    Raises:
        RunFolderError: it may not be made there, or a file stands in the way.
        StorageError: the disk is full.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RunFolderError(
            f"cannot make the folder {path}: a file stands in the way. Move it, or choose another folder (--out)."
        ) from error
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"cannot make the folder {path}: {why}. What was written before is intact; make room and run the "
                "same command again."
            ) from error
        raise RunFolderError(
            f"cannot make the folder {path}: {why}. Choose one that you may write to (--out)."
        ) from error
