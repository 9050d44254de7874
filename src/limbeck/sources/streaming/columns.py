"""The columns of a table that hold images and labels."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.errors import DataError, did_you_mean
from limbeck.sources.places import listed

IMAGE_COLUMNS = ("image", "img", "images", "jpg", "png")
LABEL_COLUMNS = ("label", "labels", "fine_label", "target", "cls")


def column_of(kind: str, given: str | None, usual: Sequence[str], there: Sequence[str], what: str) -> str:
    """The column that was asked for, or the first usual one that is there.

    Args:
        kind: image or label, for messages.
        given: by the user.
        usual: names, the likeliest first.
        there: names of all columns.
        what: the set, for messages.

    Raises:
        DataError: there is none.

    Example:
        >>> column_of("label", None, LABEL_COLUMNS, ["img", "fine_label"], "a set")
        'fine_label'
    """
    if given is not None and given not in there:
        raise DataError(
            f"{what}: there is no column '{given}'.{did_you_mean(given, there)} It has: {listed(there)}."
        )
    found = given if given is not None else next((name for name in usual if name in there), None)
    if found is None:
        raise DataError(
            f"{what}: there is no {kind} column ({', '.join(usual)}). It has: {listed(there)}. "
            f"Name it with {kind}_column."
        )
    return found
