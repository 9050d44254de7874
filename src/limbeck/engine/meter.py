"""Sums of losses on the device, read once per log interval, so that no step waits for the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from limbeck.engine.machine import Machine
from limbeck.errors import NonFiniteError, TaskError
from limbeck.protocols import StepOutput

ZERO_BATCHES = 100
"""Batches (or the whole run, if shorter) after which a term that was zero throughout is an error."""


class Meter:
    """Averages of the loss and its terms since the last reading; part of every checkpoint.

    Args:
        machine: where the tensors live; averages are over all processes.
        rescue: gives the sentence about the last good checkpoint that an error ends with.
    """

    def __init__(self, machine: Machine, rescue: Callable[[], str]) -> None:
        self._machine = machine
        self._rescue = rescue
        self._sums: dict[str, Tensor] = {}
        self._sizes: dict[str, Tensor] = {}
        self._count = 0
        self._batches = 0
        self._all_spoke = False
        """Every term was above zero at least once; nothing needs to be watched any more."""

    def add(self, output: StepOutput, *, step: int) -> None:
        """Take in one batch's losses.

        Args:
            output: what the task gave.
            step: number of the step.

        Raises:
            NonFiniteError: on a CPU at once; on a GPU `check` and `read` find it without a wait in every step.
        """
        values = {"loss": output.loss.detach(), **{f"loss/{n}": v for n, v in output.terms.items()}}
        waits_anyway = self._machine.device.type == "cpu" and self._machine.world == 1
        if waits_anyway and not math.isfinite(values["loss"]):
            raise _non_finite({n: float(v) for n, v in values.items()}, f"at step {step}", self._rescue())
        for name, value in values.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
            if not self._all_spoke:
                size = value.abs()
                self._sizes[name] = self._sizes[name] + size if name in self._sizes else size
        self._count += 1
        self._batches += 1

    def check(self, *, step: int) -> None:
        """Make sure that nothing is infinite yet, before the state is saved.

        Raises:
            NonFiniteError: a sum is infinite or not a number.
        """
        if self._count:
            self._means(step)

    def read(self, *, step: int, last: bool = False) -> dict[str, float]:
        """The averages since the last reading; waits for the device.

        Args:
            step: number of the last step that was added.
            last: whether the run ends here.

        Raises:
            NonFiniteError: an average is infinite or not a number.
            TaskError: a term was exactly zero in every step so far.
        """
        if self._count == 0:
            return {}
        values = self._means(step)
        self._sums, self._count = {}, 0
        if not self._all_spoke and (self._batches >= ZERO_BATCHES or last):
            self._refuse_silent_terms()
        return values

    def state(self) -> dict[str, Any]:
        """What a resumed run needs to go on with the same averages."""
        return {
            "sums": {name: value.cpu() for name, value in self._sums.items()},
            "sizes": {name: value.cpu() for name, value in self._sizes.items()},
            "count": self._count,
            "batches": self._batches,
            "all_spoke": self._all_spoke,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over from a checkpoint."""
        self._sums = {name: value.to(self._machine.device) for name, value in state["sums"].items()}
        self._sizes = {name: value.to(self._machine.device) for name, value in state["sizes"].items()}
        self._count, self._batches = state["count"], state["batches"]
        self._all_spoke = state["all_spoke"]

    def _means(self, step: int) -> dict[str, float]:
        means = self._machine.mean(torch.stack(list(self._sums.values())) / self._count).tolist()
        values = dict(zip(self._sums, means, strict=True))
        if not all(map(math.isfinite, values.values())):
            raise _non_finite(values, f"at or before step {step}", self._rescue())
        return values

    def _refuse_silent_terms(self) -> None:
        sizes = self._machine.mean(torch.stack(list(self._sizes.values()))).tolist()
        silent = [n.removeprefix("loss/") for n, size in zip(self._sizes, sizes, strict=True) if size == 0.0]
        if silent:
            raise TaskError(
                f"the term {', '.join(map(repr, silent))} was exactly zero in each of the first "
                f"{self._batches} batches, so it teaches nothing. Remove it, or mend its weight, decay or taps."
            )
        self._all_spoke, self._sizes = True, {}


def _non_finite(values: Mapping[str, float], when: str, rescue: str) -> NonFiniteError:
    broken = [n.removeprefix("loss/") for n, v in values.items() if n != "loss" and not math.isfinite(v)]
    shown = ", ".join(f"{n} = {v:g}" for n, v in values.items())
    what = f"the term {', '.join(map(repr, broken))}" if broken else "the loss"
    return NonFiniteError(
        f"{what} became infinite or not a number {when} ({shown}). {rescue} "
        "A smaller learning rate or weight, clip_norm, or float32 usually mends it."
    )
