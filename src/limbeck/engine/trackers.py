"""Experiment trackers, as Accelerate keeps them; the run folder's own records are always written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck.errors import ConfigError, MissingExtraError


class Trackers:
    """Forwards scalars to any number of trackers.

    Args:
        names: as Accelerate names them: tensorboard, wandb, trackio, mlflow, ...
        folder: where trackers that write files put them.
        run_name: how the run is called there.

    Raises:
        MissingExtraError: a tracker's package is absent.
        ConfigError: a tracker that Accelerate does not know.
    """

    def __init__(self, names: Sequence[str], *, folder: Path, run_name: str) -> None:
        self._trackers: list[Any] = []
        if not names:
            return
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

        available = {str(getattr(t, "value", t)) for t in get_available_trackers()}
        for name in names:
            if name not in LOGGER_TYPE_TO_CLASS:
                known = ", ".join(sorted(LOGGER_TYPE_TO_CLASS))
                raise ConfigError(f"unknown tracker '{name}'. Known: {known}.")
            if name not in available:
                raise MissingExtraError.of(name, "track", f"the tracker '{name}'")
            build = LOGGER_TYPE_TO_CLASS[name]
            place = {"logging_dir": str(folder)} if build.requires_logging_directory else {}
            tracker = build(run_name, **place)
            tracker.start()
            self._trackers.append(tracker)

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Send one line of scalars."""
        for tracker in self._trackers:
            tracker.log(dict(values), step=step)

    def finish(self) -> None:
        """Flush and close."""
        for tracker in self._trackers:
            tracker.finish()
