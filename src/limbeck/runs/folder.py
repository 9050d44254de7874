"""The folder of one run: what was asked, where it ran, what happened, and a folder for each stage."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from limbeck.errors import RunFolderError
from limbeck.files import atomic_write
from limbeck.runs.lock import locked
from limbeck.runs.names import checked_name
from limbeck.runs.places import make_folder
from limbeck.runs.records import append_record, read_json, read_records, write_json
from limbeck.runs.stage import StageFolder

__all__ = ["FORMAT", "RunFolder", "StageFolder"]

FORMAT = 1
"""Version of the layout of run folders; later releases open earlier ones."""
_MARK = "resolved.json"
_FIRST_FILES = {"recipe.yaml", "provenance.json"}
"""Written before the mark: a folder that holds these alone was being created when its process died."""


class RunFolder:
    """A run on disk. Made by `create`, found again by `open`.

    Args:
        path: of the folder.
        resolved: every value of the recipe after defaults, overlay and overrides.
    """

    def __init__(self, path: Path, resolved: dict[str, Any]) -> None:
        self.path = path
        self.resolved = resolved

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        recipe_text: str,
        resolved: Mapping[str, Any],
        provenance: Mapping[str, Any],
    ) -> RunFolder:
        """Make the folder of a new run.

        Args:
            path: a folder that is absent or empty.
            recipe_text: the recipe as given.
            resolved: every value that it came to; plain data.
            provenance: where and with what it runs.

        Raises:
            RunFolderError: the folder holds a run or something else, or cannot be written.
            InputError: its name has characters that are not allowed.
        """
        path = Path(path)
        checked_name("run", path.absolute().name)
        make_folder(path)
        if (path / _MARK).exists():
            raise RunFolderError(f"{path} holds a run already. Continue it, or choose another folder (--out).")
        foreign = sorted(
            p.name for p in path.iterdir() if p.name not in _FIRST_FILES and not p.name.startswith(".")
        )
        if foreign:
            raise RunFolderError(
                f"{path} is not empty and not a run folder: it holds {_some(foreign)}. "
                "Choose a folder that is new or empty (--out)."
            )
        atomic_write(path / "recipe.yaml", recipe_text)
        write_json(path / "provenance.json", provenance)
        write_json(path / _MARK, {"format": FORMAT, **resolved})
        return cls.open(path)

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """Find a run again.

        Args:
            path: of its folder.

        Raises:
            RunFolderError: there is none, it is not one of ours, or a later release wrote it.
        """
        path = Path(path)
        if not path.is_dir():
            what = "is a file, not a run folder" if path.exists() else "does not exist"
            raise RunFolderError(f"{path} {what}. Give a folder that `limbeck run` made.")
        resolved = read_json(path / _MARK)
        if not isinstance(resolved, dict):
            raise RunFolderError(_not_ours(path))
        found = resolved.pop("format", FORMAT)
        if not isinstance(found, int) or found > FORMAT:
            raise RunFolderError(
                f"{path} has the layout {found!r} of a later Limbeck; this one reads up to {FORMAT}. "
                "Upgrade Limbeck."
            )
        return cls(path, resolved)

    def amend(self, *, recipe_text: str, resolved: Mapping[str, Any]) -> None:
        """Take in a recipe that grew stages or changed unfinished ones since the folder was made.

        Args:
            recipe_text: the recipe as given now.
            resolved: every value that it comes to now.
        """
        if dict(resolved) == self.resolved and recipe_text == self.recipe_text:
            return
        atomic_write(self.path / "recipe.yaml", recipe_text)
        write_json(self.path / _MARK, {"format": FORMAT, **resolved})
        self.resolved = dict(resolved)

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.absolute().name

    @property
    def recipe_text(self) -> str:
        """The recipe as given."""
        try:
            return (self.path / "recipe.yaml").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    @property
    def provenance(self) -> dict[str, Any]:
        """Where and with what the run was made."""
        found = read_json(self.path / "provenance.json")
        return found if isinstance(found, dict) else {}

    def stage(self, name: str) -> StageFolder:
        """The folder of a stage, which is made when something is written to it.

        Args:
            name: letters, digits, dots, dashes, underscores.
        """
        return StageFolder(self.path / checked_name("stage", name), name)

    def stages(self) -> list[StageFolder]:
        """The stages of the recipe in their order, begun or not."""
        asked = self.resolved.get("stages")
        return [self.stage(name) for name in asked] if isinstance(asked, dict) else []

    def event(self, kind: str, **fields: Any) -> None:
        """Note that something happened, with the time.

        Args:
            kind: "started", "resumed", "finished", "failed", ...
            fields: the stage, the error, ...
        """
        append_record(self.path / "events.jsonl", {"time": _now(), "kind": kind, **fields})

    def events(self) -> list[dict[str, Any]]:
        """What happened, in order."""
        return read_records(self.path / "events.jsonl")

    def lock(self) -> AbstractContextManager[None]:
        """Keep other processes from writing into this run while the block lasts.

        Raises:
            RunFolderError: on entering, if another process is writing.
        """
        return locked(self.path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _not_ours(path: Path) -> str:
    if (path / _MARK).exists():
        return f"{path / _MARK} is damaged: it is no JSON object. Run the recipe again in another folder (--out)."
    inside = sorted(p.parent.name for p in path.glob(f"*/{_MARK}"))
    if inside:
        return f"{path} is not a run folder itself, but holds some. Give one of: {_some(inside)}."
    above = path.absolute().parent
    if (above / _MARK).exists():
        return f"{path} is one stage of the run in {above}. Give the run's folder."
    return f"{path} is not a run folder: it has no {_MARK}. Give a folder that `limbeck run` made."


def _some(names: list[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
