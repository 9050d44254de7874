"""What a run came to, in a sentence and a few numbers; or how far it got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.report.groups import groups_of
from limbeck.report.quantities import quantity
from limbeck.report.tables import REFERENCE
from limbeck.runs import RunFolder, StageFolder

_TILES = 6
_LABELS = {"accuracy": "Test accuracy", "flops": "Compute for one image", "seconds": "Training time"}


@dataclass(frozen=True, slots=True)
class StageState:
    """How far a stage got.

    Attributes:
        name: of the stage.
        kind: what it does, as the recipe names it.
        state: "finished", "failed", "unfinished" or "waiting".
        detail: a sentence: its summary, its error, or its progress.
    """

    name: str
    kind: str
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class Tile:
    """One headline number: what it is, the number, and what it is measured by."""

    label: str
    value: str
    note: str = ""


def states_of(run: RunFolder) -> list[StageState]:
    """How far every stage of the recipe got, in order.

    Args:
        run: finished or not.
    """
    events = run.events()
    asked = run.resolved["stages"] if isinstance(run.resolved.get("stages"), Mapping) else {}
    return [_state(stage, asked.get(stage.name), events) for stage in run.stages()]


def sentence(states: Sequence[StageState]) -> str:
    """The outcome of the whole run in a sentence.

    Args:
        states: of its stages.
    """
    for state in states:
        if state.state == "failed":
            return f"Stage {state.name} failed."
    done = [state for state in states if state.state == "finished"]
    if not states or len(done) < len(states):
        return f"Not finished: {len(done)} of {len(states)} stages done."
    return done[-1].detail


def tiles_of(stages: Sequence[StageFolder]) -> list[Tile]:
    """The headline numbers of the last finished stage.

    Args:
        stages: of a run.
    """
    finished = [stage for stage in stages if stage.finished]
    if not finished:
        return []
    last = finished[-1]
    comparison = last.tables().get("comparison")
    result = last.result()
    if comparison is not None:
        return _comparison_tiles(comparison, result)[:_TILES]
    numbers = result.get("numbers") if isinstance(result.get("numbers"), Mapping) else {}
    return [
        Tile(_LABELS.get(name) or _worded(name), quantity(number.get("value"), number.get("unit")), last.name)
        for name, number in (numbers or {}).items()
        if isinstance(number, Mapping)
    ][:_TILES]


def _state(stage: StageFolder, asked: Any, events: Sequence[Mapping[str, Any]]) -> StageState:
    kind = str(asked.get("kind", "")) if isinstance(asked, Mapping) else ""
    if stage.finished:
        return StageState(stage.name, kind, "finished", str(stage.result().get("summary") or "Finished."))
    if not stage.begun:
        return StageState(stage.name, kind, "waiting", "Not begun.")
    mine = [event for event in events if event.get("stage") == stage.name]
    progress = _progress(stage)
    if mine and mine[-1].get("kind") == "failed":
        error = mine[-1].get("error") or mine[-1].get("message") or "no message was kept"
        return StageState(stage.name, kind, "failed", f"{error}\n{progress}")
    if mine and mine[-1].get("kind") == "interrupted":
        progress = f"Interrupted. {progress}"
    return StageState(stage.name, kind, "unfinished", f"{progress} The command that began it continues it.")


def _progress(stage: StageFolder) -> str:
    groups = groups_of(stage)
    trials = [folder for group in groups for folder in group.folders if group.label]
    if trials:
        done = sum(trial.finished for trial in trials)
        return f"{done} of the {len(trials)} trials begun so far are finished."
    scalars = stage.read_scalars()
    if not scalars:
        return "No step was recorded yet."
    last = scalars[-1]
    return f"It got to step {last.get('step', 0):,.0f}, epoch {last.get('epoch', 0):,.0f}."


def _comparison_tiles(table: Mapping[str, Any], result: Mapping[str, Any]) -> list[Tile]:
    rows = {row.get("method"): row for row in table.get("rows", ()) if isinstance(row, Mapping)}
    best, teacher = rows.get(result.get("best")), rows.get(REFERENCE)
    if best is None:
        return []
    name = str(best["method"])
    tiles = [Tile("Best method", name, "of equal budget")]
    head = next((column for column in table.get("columns", ()) if column.get("better")), None)
    if head is not None:  # what methods are compared by
        key = str(head["key"])
        value = quantity(best.get(key), str(head.get("unit", "")), sd=best.get(f"{key}_sd"))
        tiles.append(Tile(_LABELS.get(key, str(head.get("label", key))), value, name))
    if best.get("difference") is not None:
        wins = f"; {best['wins']} seeds won" if best.get("wins") else ""
        tiles.append(
            Tile(
                "Over the control", quantity(best["difference"], "points"), f"same budget without a teacher{wins}"
            )
        )
    if best.get("agreement") is not None:
        tiles.append(Tile("Agreement", quantity(best["agreement"], "fraction"), "same answer as the teacher"))
    if teacher is not None:
        tiles += [
            tile
            for key, label, unit in (("parameters", "Parameters", "count"), ("flops", "Compute", "FLOPs"))
            if (tile := _ratio(label, teacher.get(key), best.get(key), unit)) is not None
        ]
    return tiles


def _worded(name: str) -> str:
    return name[:1].upper() + name[1:].replace("_", " ")


def _ratio(label: str, before: Any, after: Any, unit: str) -> Tile | None:
    if not isinstance(before, int | float) or not isinstance(after, int | float) or after <= 0 or before <= after:
        return None
    ratio = before / after
    shown = f"{ratio:.1f}" if ratio < 20 else f"{ratio:,.0f}"
    return Tile(
        label, f"{shown}× fewer", f"{quantity(after, unit)} instead of the teacher's {quantity(before, unit)}"
    )
