"""The loop around a method: iterate, record, choose by validation, save, continue."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from limbeck.dataset.methods._base import Learned, Method
from limbeck.engine.checkpoint import read_checkpoint, write_checkpoint
from limbeck.engine.interrupt import stop_flag
from limbeck.engine.progress import Progress
from limbeck.errors import CheckpointError, Interrupted, NonFiniteError
from limbeck.protocols import Records

CHECKPOINT = "checkpoint.pt"
SAVE_AFTER = 20.0
"""Seconds between two checkpoints."""


@dataclass(frozen=True)
class Synthesised:
    """What a synthesis came to.

    Attributes:
        learned: the set.
        iteration: after how many iterations it was taken.
        seconds: of all iterations, over all processes that continued each other.
        validation: accuracy that it was chosen by; None if it is the last.
    """

    learned: Learned
    iteration: int
    seconds: float
    validation: float | None


def synthesise(
    method: Method,
    *,
    iterations: int,
    folder: Path,
    records: Records,
    identity: str,
    judge: Callable[[Learned], float] | None = None,
    judge_every: int = 500,
    log_every: int = 10,
    title: str = "synthesis",
    shown: bool = False,
) -> Synthesised:
    """Run a method to its end, from where it was left.

    Args:
        method: at its beginning.
        iterations: how many.
        folder: of the checkpoint.
        records: where scalars go.
        identity: of everything that makes the run what it is; a checkpoint of another one is refused.
        judge: validation accuracy of a set; the best one judged is kept. None keeps the last.
        judge_every: iterations between two judgements; the last iteration is always judged.
        log_every: iterations between two lines of the records.
        title: for the progress bar.
        shown: whether there is one.

    Raises:
        NonFiniteError: the loss became infinite or not a number.
        Interrupted: asked to stop; the state is saved.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / CHECKPOINT
    done, seconds, best, best_state, best_at = 0, 0.0, -math.inf, None, 0
    if file.exists():
        found = read_checkpoint(file)
        if found["identity"] != identity:
            raise CheckpointError(f"{file} is of a synthesis with other settings; begin in another folder.")
        method.load_state(found["state"])
        done, seconds = found["done"], found["seconds"]
        best, best_state, best_at = found["best"], found["best_state"], found["best_at"]
    records.truncate_scalars(done)
    began = saved = time.monotonic()
    window: list[Mapping[str, float]] = []

    def save() -> None:
        state: dict[str, Tensor] = method.state()
        write_checkpoint(
            file,
            {
                "identity": identity,
                "state": state,
                "done": done,
                "seconds": seconds + time.monotonic() - began,
                "best": best,
                "best_state": best_state,
                "best_at": best_at,
            },
        )

    with stop_flag() as stop, Progress(title, steps=iterations, done=done, shown=shown) as progress:
        while done < iterations:
            scalars = method.iteration(done)
            if not math.isfinite(scalars["loss"]):
                raise NonFiniteError(
                    f"the matching loss is {scalars['loss']} at iteration {done}; lower the rate of the "
                    f"images. The "
                    "last checkpoint is intact."
                )
            done += 1
            window.append(scalars)
            if done % log_every == 0 or done == iterations:
                mean = {key: sum(s[key] for s in window) / len(window) for key in window[-1]}
                records.write_scalars({"step": done, "epoch": done, **mean})
                progress.update(step=done, epoch=done, loss=mean["loss"])
                window.clear()
            if judge is not None and (done % judge_every == 0 or done == iterations):
                value = judge(method.learned())
                records.write_scalars({"step": done, "epoch": done, "validation/accuracy": value})
                if value > best:
                    best, best_state, best_at = value, method.state(), done
            if stop:
                save()
                raise Interrupted(
                    f"stopped by {stop.name} after iteration {done}; the state is saved. The same command "
                    f"continues."
                )
            # Lines of the records are averages over `log_every` iterations: a checkpoint falls between two of
            # them.
            if done % log_every == 0 and time.monotonic() - saved > SAVE_AFTER:
                save()
                saved = time.monotonic()
    if best_state is not None:
        method.load_state(best_state)
    seconds += time.monotonic() - began
    at = best_at if best_state is not None else iterations
    return Synthesised(method.learned(), at, seconds, best if best_state is not None else None)
