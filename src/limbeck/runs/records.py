"""JSON on disk as a killed process may leave it: whole files, and lines of which the last may be half."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limbeck.files import append_line, atomic_write

NONFINITE = "nonfinite"
"""Key of a record that lists which of its numbers were infinite or not a number; JSON has no word for those."""


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all; numbers that are not finite become null.

    Args:
        path: its folder exists.
        value: dictionaries, lists, numbers and text; anything else is written as its text.
    """
    atomic_write(
        path, json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"
    )


def read_json(path: Path) -> Any:
    """A JSON file's content, or None where there is no readable one."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Append one line of JSON.

    Half a line that a killed process left at the end is dropped first. Numbers that are not finite become
    null and their keys are listed under `nonfinite`.

    Args:
        path: a .jsonl file, which need not exist.
        record: plain data.
    """
    broken = [key for key, value in record.items() if isinstance(value, float) and not math.isfinite(value)]
    whole = {**record, NONFINITE: broken} if broken else record
    _drop_half_line(path)
    append_line(path, json.dumps(finite(whole), ensure_ascii=False, allow_nan=False, default=str))


def read_records(path: Path) -> list[dict[str, Any]]:
    """Every whole line of a .jsonl file; what was not finite comes back as NaN.

    Args:
        path: a file that need not exist.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return []
    records = []
    for line in lines[:-1]:  # what follows the last line break is empty or half a line
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            broken = record.pop(NONFINITE, ())
            records.append({**record, **dict.fromkeys(broken, math.nan)})
    return records


def finite(value: Any) -> Any:
    """The same data with null in the place of every number that JSON cannot write.

    Example:
        >>> finite({"a": [1.0, float("nan")], "b": float("inf")})
        {'a': [1.0, None], 'b': None}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _drop_half_line(path: Path) -> None:
    try:
        with path.open("rb+") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
    except OSError:
        return  # absent, or not writable: appending says which
