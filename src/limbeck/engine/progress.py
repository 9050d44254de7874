"""One line on the terminal: where training is, how fast it goes and when it will be done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any


class Progress:
    """A progress bar fed once per log interval; between two feeds it costs a comparison.

    Args:
        title: what is being trained.
        steps: optimizer steps in all.
        done: steps done before this process began.
        images_per_step: over all processes.
        shown: False makes it silent.
    """

    def __init__(
        self, title: str, *, steps: int, done: int = 0, images_per_step: int = 1, shown: bool = True
    ) -> None:
        self._bar: Any = None
        self._step, self._images_per_step = done, images_per_step
        self._since = time.perf_counter()
        if shown:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f} %"),
                TextColumn("{task.fields[facts]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                transient=True,
            )
            self._task = self._bar.add_task(title, total=steps, completed=done, facts="")

    def update(self, *, step: int, epoch: int, loss: float) -> None:
        """Show the state after some steps.

        Args:
            step: optimizer steps done.
            epoch: the current one.
            loss: average since the last update.
        """
        now = time.perf_counter()
        rate = (step - self._step) * self._images_per_step / max(now - self._since, 1e-9)
        self._since, self._step = now, step
        if self._bar is not None:
            facts = f"epoch {epoch}  loss {loss:.3f}  {rate:,.0f} images/s"
            self._bar.update(self._task, completed=step, facts=facts)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def doing(what: str, *, shown: bool = True) -> Iterator[None]:
    """Say on the terminal what is under way while the block lasts, where nothing counts its steps.

    Args:
        what: a few words.
        shown: False makes it silent.
    """
    if not shown:
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield
