"""The splits of detection sets, and the words for them in file names."""

from __future__ import annotations

from collections.abc import Mapping

from limbeck.errors import ConfigError

SPLITS = {
    "train": ("train", "training"),
    "validation": ("val", "validation", "valid"),
    "test": ("test", "testing"),
}
"""Split -> words under which it is looked for, the best first."""


def check_split(split: str, *, what: str) -> str:
    """The split, if there is such a one.

    Raises:
        ConfigError: there is not.
    """
    if split not in SPLITS:
        raise ConfigError(f"{what}: split is 'train', 'validation' or 'test', not {split!r}.")
    return split


def words_of(split: str, given: Mapping[str, str | None]) -> tuple[str, ...]:
    """Where to look for a split: validation stands in for a missing test, unless it has a place of its own.

    Example:
        >>> words_of("test", {"validation": None})
        ('test', 'testing', 'val', 'validation', 'valid')
    """
    stands_in = split == "test" and given.get("validation") is None
    return SPLITS[split] + (SPLITS["validation"] if stands_in else ())
