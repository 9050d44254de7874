"""Finished stages of other runs, taken over where nothing differs: one teacher for many students."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from limbeck.errors import CheckpointError, LimbeckError, RunFolderError, StorageError
from limbeck.recipes.schema import Recipe
from limbeck.runs.folder import RunFolder, StageFolder

_LOGGER = logging.getLogger("limbeck")
_MARK = "resolved.json"
_LINKED = ".safetensors"
"""Files that are written once and never appended to; two runs may share them on disk."""


def find_runs(path: Path, *, none_is_fine: bool = False) -> list[RunFolder]:
    """The run at a path, or every run in the folders below it, by path.

    Args:
        path: a run folder, or a folder that holds some at any depth.
        none_is_fine: give back nothing instead of raising where there is none.

    Raises:
        RunFolderError: there is none.
    """
    found = [RunFolder.open(place) for place in _run_folders(path)]
    if not found and not none_is_fine:
        what = "holds no run" if path.is_dir() else "does not exist" if not path.exists() else "is a file"
        raise RunFolderError(f"{path} {what}. Give a run folder that `limbeck run` made, or a folder of them.")
    return found


def _run_folders(path: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if _MARK in files:
            folders.clear()  # nothing inside a run is a run
            yield Path(place)


def take_over(recipe: Recipe, run: RunFolder, others: Sequence[Path], *, but: Collection[str] = ()) -> list[str]:
    """Take over what is finished elsewhere with equal settings and seeds, the stages that it builds on included.

    Args:
        recipe: checked.
        run: where the stages go; its lock is held.
        others: run folders, or folders of them, searched in this order.
        but: stages to run in any case.

    Returns:
        The stages that were taken over.

    Raises:
        RunFolderError: there is no run at a path, or all that could be taken over of a stage is damaged.
        StorageError: the disk is full.
    """
    here = run.path.resolve()
    donors = [found for path in others for found in find_runs(path) if found.path.resolve() != here]
    taken = []
    for name in recipe.stages:
        folder = run.stage(name)
        if name in but or folder.finished:
            continue
        found = [donor.stage(name) for donor in donors if _equal(recipe, name, donor)]
        if not found:
            continue
        source = _sound(found)
        aside = folder.reset()  # what was begun here is kept
        _copy(source.path, folder.path)
        run.event("reused", stage=name, path=str(source.path), **({"moved_to": aside.name} if aside else {}))
        taken.append(name)
    if donors and not taken:
        _tell_why_not(recipe, donors)
    return taken


def _tell_why_not(recipe: Recipe, donors: Sequence[RunFolder]) -> None:
    for name in recipe.stages:
        for donor in donors:
            changes = donor.stage(name).compare(recipe.stage_config(name))
            if changes and donor.stage(name).finished:
                more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
                _LOGGER.warning(
                    "--reuse: nothing is taken over. %s has other settings: %s%s.",
                    donor.stage(name).path,
                    changes[0],
                    more,
                )
                return
    _LOGGER.warning("--reuse: nothing is taken over; no stage of this recipe is finished there.")


def _equal(recipe: Recipe, name: str, donor: RunFolder) -> bool:
    """Whether a run finished a stage with these settings, and had the stages that it builds on with theirs."""
    folder = donor.stage(name)
    if not folder.finished:
        return False
    asked = [name]
    for stage in asked:  # grows while it is read
        config = donor.stage(stage)
        if not config.begun or config.compare(recipe.stage_config(stage)):
            return False
        asked += [r for r in recipe.references.get(stage, ()) if r in recipe.stages and r not in asked]
    return True


def _sound(found: Sequence[StageFolder]) -> StageFolder:
    """The first whose models can be read to the last byte."""
    reasons = []
    for folder in found:
        reason = _damage(folder)
        if reason is None:
            return folder
        reasons.append(f"{folder.path}: {reason}")
    raise RunFolderError(
        f"stage '{found[0].name}' was to be taken over, and what is there is damaged:\n  "
        + "\n  ".join(reasons)
        + "\nLeave that run out of --reuse to run the stage again, or copy it again from where it was made."
    )


def _damage(folder: StageFolder) -> str | None:
    for part in (folder, *folder.trials()):
        model = part.result().get("model") if part.finished else None
        if model is None:
            continue
        from limbeck.models import load

        try:
            load(part.path / str(model))  # checks the checksum over card and weights
        except CheckpointError as error:
            return str(error)
        except LimbeckError as error:
            return f"its model cannot be rebuilt here: {error}"
    return None


def _copy(source: Path, target: Path) -> None:
    """A whole folder or none: gathered under another name beside the target, then renamed."""
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp"))
    try:
        shutil.copytree(source, temporary, dirs_exist_ok=True, copy_function=_link_or_copy, ignore=_unfinished)
        temporary.chmod(0o755)  # mkdtemp makes it private
        temporary.rename(target)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise StorageError(f"cannot copy {source} to {target}: {error}") from error


def _unfinished(folder: str, names: list[str]) -> list[str]:
    """What only a run in progress needs."""
    return [name for name in names if name == "checkpoints" or name.endswith(".tmp")]


def _link_or_copy(source: str, target: str) -> None:
    if source.endswith(_LINKED):
        try:
            os.link(source, target)
        except OSError:  # another disk, or one without links
            pass
        else:
            return
    shutil.copy2(source, target)
