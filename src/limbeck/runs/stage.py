"""The folder of one stage: configuration, scalars, tables, figures, images, result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limbeck.errors import RunFolderError
from limbeck.files import atomic_write
from limbeck.runs.names import checked_name
from limbeck.runs.places import make_folder
from limbeck.runs.records import append_record, finite, read_json, read_records, write_json


class StageFolder:
    """What one stage writes and reads.

    Args:
        path: of the folder; it is made by the first writing.
        name: of the stage.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name

    def __repr__(self) -> str:
        return f"StageFolder({str(self.path)!r})"

    # --- configuration and result

    def begin(self, config: Mapping[str, Any]) -> None:
        """Record the configuration; the same one again is a continuation.

        Args:
            config: plain data.

        Raises:
            RunFolderError: the stage was begun with another configuration.
        """
        changes = self.compare(config)
        if changes:
            raise RunFolderError(
                f"stage '{self.name}' in {self.path.parent} was begun with other settings:\n  "
                + "\n  ".join(changes)
                + f"\nBegin it again (--fresh {self.name}), or choose another folder (--out)."
            )
        if self.config() is None:
            make_folder(self.path)
            write_json(self.path / "config.json", config)

    def config(self) -> dict[str, Any] | None:
        """The configuration that the stage was begun with, or None if it was not begun."""
        found = read_json(self.path / "config.json")
        return found if isinstance(found, dict) else None

    def compare(self, config: Mapping[str, Any]) -> list[str]:
        """What differs between the recorded configuration and this one, a line a value.

        Args:
            config: plain data.

        Returns:
            Lines like "train.epochs: 240 -> 120"; none if nothing differs or nothing was recorded.
        """
        before = self.config()
        if before is None:
            return []
        old, new = _flat(before), _flat(json.loads(json.dumps(finite(config), default=str)))
        return [
            f"{key}: {_shown(old, key)} -> {_shown(new, key)}"
            for key in [*old, *(k for k in new if k not in old)]
            if old.get(key, _ABSENT) != new.get(key, _ABSENT)
        ]

    @property
    def begun(self) -> bool:
        """Whether the stage has a configuration."""
        return self.config() is not None

    @property
    def finished(self) -> bool:
        """Whether the stage has a readable result, which is written last."""
        return isinstance(read_json(self.path / "result.json"), dict)

    def result(self) -> dict[str, Any]:
        """What the stage came to.

        Raises:
            RunFolderError: it is not finished.
        """
        found = read_json(self.path / "result.json")
        if not isinstance(found, dict):
            raise RunFolderError(
                f"stage '{self.name}' in {self.path.parent} is not finished: it has no readable result.json. "
                "The command that began it continues it."
            )
        return found

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write the result; from now on the stage is finished.

        Args:
            result: kind, numbers with units, one sentence as summary; plain data.
        """
        make_folder(self.path)
        write_json(self.path / "result.json", result)

    def reset(self) -> Path | None:
        """Move everything aside, to begin again.

        Returns:
            Where the old folder is now, or None if there was nothing.

        Raises:
            RunFolderError: it cannot be moved.
        """
        if not self.path.exists():
            return None
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.old-{number}")).exists():
            number += 1
        try:
            return self.path.rename(aside)
        except OSError as error:
            raise RunFolderError(f"cannot move {self.path} to {aside}: {error.strerror or error}.") from error

    # --- trials

    def trial(self, name: str) -> StageFolder:
        """A folder inside this stage, for one of several trials.

        Args:
            name: letters, digits, dots, dashes, underscores.
        """
        return StageFolder(self.path / "trials" / checked_name("trial", name), name)

    def trials(self) -> list[StageFolder]:
        """The trials that were begun, by name."""
        found = sorted(path for path in (self.path / "trials").glob("*/") if (path / "config.json").exists())
        return [StageFolder(path, path.name) for path in found if ".old-" not in path.name]

    # --- scalars

    def write_scalars(self, values: Mapping[str, float]) -> None:
        """Append one line of numbers.

        Args:
            values: `step` and `epoch` among them.
        """
        path = self.path / "scalars.jsonl"
        if not path.exists():
            make_folder(self.path)
        append_record(path, values)

    def read_scalars(self) -> list[dict[str, float]]:
        """Every whole line of numbers, in the order of writing."""
        return read_records(self.path / "scalars.jsonl")

    def truncate_scalars(self, step: int) -> None:
        """Drop the lines after a step, when training goes back to its checkpoint.

        Args:
            step: the last one to keep.
        """
        path = self.path / "scalars.jsonl"
        if not path.exists():
            return
        kept = []
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + b"\n")
            except (ValueError, KeyError, TypeError):
                continue
        atomic_write(path, b"".join(kept))

    # --- what the report shows

    def write_table(self, name: str, table: Mapping[str, Any]) -> None:
        """Keep a table for the report.

        Args:
            name: of the file.
            table: title, columns (key, label, unit, better), rows, note.
        """
        write_json(self._place("tables", name), table)

    def write_figure(self, name: str, figure: Mapping[str, Any]) -> None:
        """Keep a figure's data for the report, which draws it.

        Args:
            name: of the file.
            figure: title, caption, kind (lines, bars, matrix, scatter) and what that kind needs.
        """
        write_json(self._place("figures", name), figure)

    def write_image(self, name: str, png: bytes, caption: str) -> None:
        """Keep a picture for the report.

        Args:
            name: of the file.
            png: the encoded picture.
            caption: what it shows.
        """
        place = self._place("images", name)
        atomic_write(place.with_suffix(".png"), png)
        write_json(place, {"caption": caption})

    def write_chapter(self, name: str, chapter: Mapping[str, Any]) -> None:
        """Group tables, figures and pictures under a heading of their own, in the order of the chapters' names.

        Args:
            name: of the file; begin it with a number.
            chapter: title, lines (pairs of a head and a sentence), notes (sentences), and the names of `tables`,
                `figures` and `images`.
        """
        write_json(self._place("chapters", name), chapter)

    def chapters(self) -> dict[str, dict[str, Any]]:
        """The readable chapters by name."""
        return self._read_all("chapters")

    def tables(self) -> dict[str, dict[str, Any]]:
        """The readable tables by name."""
        return self._read_all("tables")

    def figures(self) -> dict[str, dict[str, Any]]:
        """The data of the readable figures by name."""
        return self._read_all("figures")

    def images(self) -> dict[str, tuple[bytes, str]]:
        """PNG bytes and caption of the pictures by name."""
        folder = self.path / "images"
        return {
            name: (png.read_bytes(), str(about.get("caption", "")))
            for name, about in self._read_all("images").items()
            if (png := folder / f"{name}.png").is_file()
        }

    def _place(self, kind: str, name: str) -> Path:
        checked_name(kind.removesuffix("s"), name)
        make_folder(self.path / kind)
        return self.path / kind / f"{name}.json"

    def _read_all(self, kind: str) -> dict[str, dict[str, Any]]:
        found = {path.stem: read_json(path) for path in sorted((self.path / kind).glob("[!.]*.json"))}
        return {name: data for name, data in found.items() if isinstance(data, dict)}


_ABSENT = object()


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        items = [(f"{prefix}.{key}" if prefix else str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and value:
        items = [(f"{prefix}[{number}]", item) for number, item in enumerate(value)]
    else:
        return {prefix: value}
    return {key: leaf for name, item in items for key, leaf in _flat(item, name).items()}


def _shown(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False) if key in values else "absent"
