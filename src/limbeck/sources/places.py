"""Find a set on disk, and say what is there when it is not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from limbeck.errors import DataError, did_you_mean

SPLIT_WORDS = {"train": ("train", "training"), "test": ("test", "testing", "val", "valid", "validation")}
"""Names under which a split is looked for, the best first."""


def existing(root: str | Path, *, what: str) -> Path:
    """A path that exists.

    Raises:
        DataError: there is nothing; the nearest name beside it is suggested.
    """
    path = Path(root).expanduser()
    if path.exists():
        return path
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        path, parent = parent, parent.parent
    beside = entries(parent) if parent.is_dir() else []
    raise DataError(
        f"{what}: there is no '{root}'.{did_you_mean(path.name, beside)} {parent}/ holds: {listed(beside)}."
    )


def entries(folder: Path) -> list[str]:
    """Names in a folder, hidden ones left out.

    Raises:
        DataError: the folder may not be read.
    """
    try:
        return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror or error}.") from error


def listed(names: Iterable[str], *, most: int = 8) -> str:
    """Names for a message, not too many.

    Example:
        >>> listed(["a", "b", "c"], most=2), listed([])
        ('a, b and 1 more', 'nothing')
    """
    found = list(names)
    if not found:
        return "nothing"
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def split_of(name: str) -> str | None:
    """The split that a file's or folder's name speaks of.

    Example:
        >>> split_of("train-00000-of-00002.parquet"), split_of("val"), split_of("trainers")
        ('train', 'test', None)
    """
    stem = name.lower().split(".")[0].replace("_", "-").split("-")[0]
    return next((split for split, words in SPLIT_WORDS.items() if stem in words), None)
