"""The trials of a stage, brought together by method."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.report.draw_bars import BASELINE
from limbeck.runs import StageFolder


@dataclass(frozen=True, slots=True)
class Group:
    """Folders that differ in their seed alone; a stage without trials is a group of its own.

    Attributes:
        label: the method, or nothing for a stage without trials.
        folders: the trials.
    """

    label: str
    folders: tuple[StageFolder, ...]

    def results(self) -> list[dict[str, Any]]:
        """The results of the finished ones."""
        return [folder.result() for folder in self.folders if folder.finished]


def groups_of(stage: StageFolder) -> list[Group]:
    """What a stage trained: the control first, methods in the order of the configuration.

    Args:
        stage: with or without trials.
    """
    trials = stage.trials()
    if not trials:
        return [Group("", (stage,))]
    by_label: dict[str, list[StageFolder]] = {}
    for trial in trials:
        by_label.setdefault(_label(trial), []).append(trial)
    config = stage.config() or {}
    methods = config.get("methods") or config.get("variants")
    order = [BASELINE, *(methods if isinstance(methods, Mapping) else ()), *by_label]
    return [Group(label, tuple(by_label.pop(label))) for label in dict.fromkeys(order) if label in by_label]


def number_of(results: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """The values of one number in several results, where they have it.

    Args:
        results: as stages write them.
        name: such as "accuracy".
    """
    found = []
    for result in results:
        number = (result.get("numbers") or {}).get(name)
        value = number.get("value") if isinstance(number, Mapping) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            found.append(float(value))
    return found


def mean_and_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and standard deviation, as far as there are values for them.

    Example:
        >>> mean_and_sd([1.0, 3.0]), mean_and_sd([2.0]), mean_and_sd([])
        ((2.0, 1.4142135623730951), (2.0, None), (None, None))
    """
    if not values:
        return None, None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def _label(trial: StageFolder) -> str:
    method = (trial.config() or {}).get("method")
    return str(method) if method else re.sub(r"-s\d+$", "", trial.name)
