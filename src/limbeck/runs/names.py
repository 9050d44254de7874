"""Names of runs, stages, tables and figures become files, headings and links: few characters are allowed."""

from __future__ import annotations

import re

from limbeck.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}")


def checked_name(kind: str, name: str) -> str:
    """The name, if it is one.

    Args:
        kind: what is named, for the message ("run", "stage").
        name: as given.

    Raises:
        InputError: it has other characters, is empty or too long.

    Example:
        >>> checked_name("stage", "student-1")
        'student-1'
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name[:100]!r} cannot be the name of a {kind}. Allowed: 1 to 81 letters, digits, '.', '_' and '-', "
            "the first a letter or a digit."
        )
    return name
