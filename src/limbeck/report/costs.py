"""What models cost to run and to train: one table, and a small figure for each cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.report.groups import groups_of, mean_and_sd, number_of
from limbeck.runs import StageFolder

_COSTS = (
    ("parameters", "Parameters", "count"),
    ("flops", "Compute for one image", "FLOP per image"),
    ("seconds", "Training time", "s"),
    ("memory", "Peak memory while training", "bytes"),
)


@dataclass(frozen=True, slots=True)
class _Line:
    stage: str
    label: str
    values: dict[str, float | None]


def cost_table(stages: Sequence[StageFolder]) -> dict[str, Any] | None:
    """The costs of everything that was trained to its end, means over seeds; None if there is nothing.

    Args:
        stages: of a run.
    """
    lines = _lines(stages)
    if not lines:
        return None
    return {
        "title": "What it costs",
        "columns": [
            {"key": "label", "label": "Model"},
            *({"key": key, "label": name, "unit": unit} for key, name, unit in _COSTS),
        ],
        "rows": [{"label": line.label, **line.values} for line in lines],
        "note": "Training time is that of one training, on the hardware under Environment; means over seeds. "
        "On a CPU, peak memory is that of the whole process up to then.",
    }


def cost_figures(stages: Sequence[StageFolder]) -> list[dict[str, Any]]:
    """A small bar chart for each cost; models of equal cost in one stage share a bar.

    Args:
        stages: of a run.
    """
    lines = _lines(stages)
    figures = []
    for key, name, unit in _COSTS:
        bars = []
        for stage in dict.fromkeys(line.stage for line in lines):
            known = [
                (ln.label, ln.values[key]) for ln in lines if ln.stage == stage and ln.values[key] is not None
            ]
            alike = len(known) > 1 and len({value for _, value in known}) == 1
            bars += [(stage, known[0][1])] if alike else known
        if len(bars) > 1:
            data = [{"label": label, "value": value} for label, value in bars]
            figures.append({"kind": "bars", "title": name, "unit": unit, "axis": False, "bars": data})
    return figures


def _lines(stages: Sequence[StageFolder]) -> list[_Line]:
    lines = []
    for stage in stages:
        for group in groups_of(stage):
            results = group.results()
            values = {key: mean_and_sd(number_of(results, key))[0] for key, _, _ in _COSTS}
            peaks = [
                r["peak_memory_bytes"] for r in results if isinstance(r.get("peak_memory_bytes"), int | float)
            ]
            values["memory"] = max(peaks, default=None)
            if any(value is not None for value in values.values()):
                lines.append(_Line(stage.name, group.label or stage.name, values))
    return lines
