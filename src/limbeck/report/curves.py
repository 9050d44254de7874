"""Learning curves: one small figure for each scalar of a stage, with the trials of a method behind their mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from limbeck.report.groups import Group, groups_of
from limbeck.runs import StageFolder

_AXES = frozenset({"step", "epoch"})
_LOG_FACTOR = 50
"""A positive scalar whose values differ by more than this factor is drawn on a logarithmic axis."""
_NAMES = {
    "loss": "Loss, the sum of its terms",
    "lr": "Learning rate",
    "validation/accuracy": "Validation accuracy",
    "test/accuracy": "Test accuracy",
    "test/agreement": "Agreement with the teacher",
    "validation/loss": "Validation cross-entropy",
    "test/loss": "Test cross-entropy",
}
_FIRST = ("validation/accuracy", "test/accuracy", "test/agreement", "loss")
_LAST = ("validation/loss", "test/loss", "lr")


def curve_figures(stage: StageFolder) -> list[dict[str, Any]]:
    """The data of a stage's learning curves, most important first.

    Args:
        stage: with scalars of its own or of its trials.
    """
    groups = groups_of(stage)
    scalars = {group.label: [folder.read_scalars() for folder in group.folders] for group in groups}
    lines = [line for runs in scalars.values() for run in runs for line in run]
    keys = [key for key in dict.fromkeys(k for line in lines for k in line) if key not in _AXES]
    terms = [
        {k for run in scalars[g.label] for line in run for k in line if k.startswith("loss/")} for g in groups
    ]
    if all(len(found) <= 1 for found in terms) and any(terms):
        keys = [key for key in keys if key != "loss"]  # it says the same as its only term
    return [figure for key in sorted(keys, key=_rank) if (figure := _figure(key, groups, scalars))["series"]]


def mean_curve(runs: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """The mean of several curves at the places that all of them reach.

    Args:
        runs: curves as (x, y).

    Example:
        >>> mean_curve([[(1, 0.0), (2, 1.0), (3, 5.0)], [(1, 1.0), (2, 2.0)]])
        [(1, 0.5), (2, 1.5)]
    """
    tables = [dict(run) for run in runs if run]
    shared = [x for x, _ in min((run for run in runs if run), key=len, default=[])]
    return [(x, sum(t[x] for t in tables) / len(tables)) for x in shared if all(x in t for t in tables)]


def _figure(key: str, groups: Sequence[Group], scalars: dict[str, list[list[dict[str, float]]]]) -> dict[str, Any]:
    series, values = [], []
    for group in groups:
        runs = [
            [(line["step"], line[key]) for line in run if key in line and "step" in line]
            for run in scalars[group.label]
        ]
        runs = [run for run in runs if run]
        values += [y for run in runs for _, y in run if math.isfinite(y)]
        if len(runs) > 1:
            series += [_series(run, group.label, faint=True) for run in runs]
        if runs:
            series.append(_series(mean_curve(runs) if len(runs) > 1 else runs[0], group.label))
    positive = bool(values) and min(values) > 0
    share = key.endswith(("/accuracy", "/agreement"))
    return {
        "kind": "lines",
        "title": _NAMES.get(key) or (f"Loss term {key[5:]}" if key.startswith("loss/") else key),
        "x_label": "step",
        "unit": "fraction" if share else None,
        "log": positive and not share and key != "lr" and max(values) > _LOG_FACTOR * min(values),
        "series": [one for one in series if one["x"]],
    }


def _series(points: Sequence[tuple[float, float]], label: str, *, faint: bool = False) -> dict[str, Any]:
    return {"label": label, "x": [x for x, _ in points], "y": [y for _, y in points], "faint": faint}


def _rank(key: str) -> tuple[int, int]:
    if key in _FIRST:
        return (0, _FIRST.index(key))
    if key in _LAST:
        return (2, _LAST.index(key))
    return (1, 0)
