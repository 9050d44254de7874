"""A run folder for work that was asked for in Python rather than in a recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limbeck.errors import ConfigError
from limbeck.runs.folder import RunFolder
from limbeck.runs.provenance import provenance


def folder_for(path: Path, asked: Mapping[str, Any], *, stage: str, call: str) -> RunFolder:
    """The folder of a call: a new one, or the one that an earlier call with the same arguments left.

    Args:
        path: of the folder.
        asked: the stage as a recipe would have it, `seed` among it.
        stage: name of its only stage.
        call: what was called, for the provenance: "limbeck.train(...)".

    Raises:
        ConfigError: the folder holds a run with other settings.
        RunFolderError: the folder cannot be used.
    """
    if not (path / "resolved.json").exists():
        recipe = json.dumps({"title": path.name, "stages": {stage: asked}}, indent=2, default=str)
        resolved = {"title": path.name, "seed": asked["seed"], "stages": {stage: dict(asked)}}
        return RunFolder.create(path, recipe_text=recipe, resolved=resolved, provenance=provenance([call]))
    run = RunFolder.open(path)
    changes = run.stage(stage).compare(dict(asked))
    if changes:
        raise ConfigError(
            f"{path} holds a run with other settings:\n  " + "\n  ".join(changes) + "\nGive another `out`."
        )
    return run
