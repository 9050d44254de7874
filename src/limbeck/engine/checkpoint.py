"""The training state on disk: one file, written atomically, verified by checksum when read.

The file is a line that names the format, a line with the SHA-256 of the rest, and what `torch.save` wrote. It is
read with `weights_only`, so nothing in it is ever executed. The checkpoint before the last is kept: a damaged
last one costs minutes, not the run.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from limbeck.errors import CheckpointError
from limbeck.files import atomic_write

MAGIC = b"limbeck checkpoint 1\n"
_LOGGER = logging.getLogger("limbeck")


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state of tensors and plain values.

    Args:
        path: where; its folder exists.
        state: nested dictionaries, lists, tensors, numbers and strings.

    Raises:
        StorageError: the disk is full or broke; the file that was there before is intact.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    payload = buffer.getbuffer()
    digest = hashlib.sha256(payload).hexdigest().encode()
    atomic_write(path, [MAGIC, digest, b"\n", payload])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read and verify a state.

    Raises:
        CheckpointError: the file is no checkpoint of ours, or is damaged.
    """
    data = path.read_bytes()
    if not data.startswith(MAGIC):
        raise CheckpointError(f"{path} is not a Limbeck checkpoint: it does not begin with {MAGIC.decode()!r}.")
    digest, _, payload = data[len(MAGIC) :].partition(b"\n")
    if hashlib.sha256(payload).hexdigest().encode() != digest:
        raise CheckpointError(f"{path} is damaged: its checksum does not match ({len(data)} bytes).")
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} holds more than tensors and plain values: {error}") from error
    return dict(state)


class Checkpoints:
    """The checkpoints of one stage: the last, the one before, and the best epoch's weights.

    Args:
        folder: made on the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last = folder / "last.ckpt"
        self.previous = folder / "previous.ckpt"
        for left in folder.glob(".*.tmp"):  # of a process that was killed while it wrote
            left.unlink(missing_ok=True)

    def best(self, epoch: int) -> Path:
        """The file of an epoch that was the best so far."""
        return self.folder / f"best-{epoch}.ckpt"

    def save(self, state: Mapping[str, Any]) -> None:
        """Make this the last checkpoint; the one that was becomes the previous."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.last.exists():
            self.last.replace(self.previous)
        write_checkpoint(self.last, state)

    def latest(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest checkpoint that verifies with its file, or None where none was written.

        Raises:
            CheckpointError: there are checkpoints and every one is damaged.
        """
        problems: dict[Path, str] = {}
        for path in (self.last, self.previous):
            if not path.exists():
                continue
            try:
                state = read_checkpoint(path)
            except CheckpointError as error:
                problems[path] = str(error)
                continue
            for damaged, problem in problems.items():
                # Out of the way, or the next save would rotate it over the good one.
                damaged.replace(damaged.with_suffix(".damaged"))
                _LOGGER.warning("%s Going on from %s.", problem, path.name)
            return path, state
        if problems:
            raise CheckpointError(
                f"{' '.join(problems.values())} No intact checkpoint is left in {self.folder}; "
                "start the stage again with --fresh."
            )
        return None

    def save_best(self, epoch: int, state: Mapping[str, Any]) -> None:
        """Keep the weights of an epoch. Those of earlier ones stay until a checkpoint names this one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_checkpoint(self.best(epoch), state)

    def read_best(self, epoch: int) -> dict[str, Any]:
        """The weights of an epoch, verified.

        Raises:
            CheckpointError: they are gone or damaged.
        """
        try:
            return read_checkpoint(self.best(epoch))
        except (OSError, CheckpointError) as error:
            raise CheckpointError(
                f"the weights of the best epoch ({epoch}) cannot be read: {error} "
                "Start the stage again with --fresh."
            ) from error

    def forget_best(self, *, but: int | None) -> None:
        """Remove the weights of every other epoch."""
        for path in self.folder.glob("best-*.ckpt"):
            if but is None or path != self.best(but):
                path.unlink(missing_ok=True)
