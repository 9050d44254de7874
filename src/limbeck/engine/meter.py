"""Sums of losses on the device, read once per log interval, so that no step waits for the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from limbeck.engine.machine import Machine
from limbeck.errors import NonFiniteError, TaskError
from limbeck.protocols import StepOutput

ZERO_STEPS = 100
"""Steps (or the whole run, if shorter) after which a term that was zero throughout is an error."""


class Meter:
    """Averages of the loss and its terms since the last reading.

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
        self._steps = 0

    def add(self, output: StepOutput, *, step: int) -> None:
        """Take in one batch's losses.

        Args:
            output: what the task gave.
            step: number of the step.

        Raises:
            NonFiniteError: on a CPU at once; on a GPU `read` finds it without a wait in every step.
        """
        values = {"loss": output.loss.detach(), **{f"loss/{n}": v for n, v in output.terms.items()}}
        waits_anyway = self._machine.device.type == "cpu" and self._machine.world == 1
        if waits_anyway and not math.isfinite(values["loss"]):
            raise _non_finite({n: float(v) for n, v in values.items()}, f"at step {step}", self._rescue())
        for name, value in values.items():
            value = value.detach().float()
            if name not in self._sums:
                self._sums[name] = torch.zeros_like(value)
                self._sizes.setdefault(name, torch.zeros_like(value))
            self._sums[name] += value
            if self._steps < ZERO_STEPS:
                self._sizes[name] += value.abs()
        self._count += 1
        self._steps += 1

    def read(self, *, step: int, last: bool = False) -> dict[str, float]:
        """The averages since the last reading; the one place that waits for the device.

        Args:
            step: number of the last step that was added.
            last: whether the run ends here.

        Raises:
            NonFiniteError: an average is infinite or not a number.
            TaskError: a term was exactly zero in every step so far.
        """
        if self._count == 0:
            return {}
        names = list(self._sums)
        means = self._machine.mean(torch.stack([self._sums[n] for n in names]) / self._count).tolist()
        values = dict(zip(names, means, strict=True))
        self._sums, self._count = {}, 0
        if not all(map(math.isfinite, values.values())):
            raise _non_finite(values, f"at or before step {step}", self._rescue())
        if self._steps >= ZERO_STEPS or last:
            self._refuse_silent_terms()
        return values

    def _refuse_silent_terms(self) -> None:
        silent = [n.removeprefix("loss/") for n, size in self._sizes.items() if float(size) == 0.0]
        if silent:
            raise TaskError(
                f"the term {', '.join(map(repr, silent))} was exactly zero in each of the first "
                f"{min(self._steps, ZERO_STEPS)} steps, so it teaches nothing. Remove it, or mend its weight, "
                "decay or taps."
            )


def _non_finite(values: Mapping[str, float], when: str, rescue: str) -> NonFiniteError:
    broken = [n.removeprefix("loss/") for n, v in values.items() if n != "loss" and not math.isfinite(v)]
    shown = ", ".join(f"{n} = {v:g}" for n, v in values.items())
    what = f"the term {', '.join(map(repr, broken))}" if broken else "the loss"
    return NonFiniteError(
        f"{what} became infinite or not a number {when} ({shown}). {rescue} "
        "A smaller learning rate or weight, clip_norm, or float32 usually mends it."
    )
