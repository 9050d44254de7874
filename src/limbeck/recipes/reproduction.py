"""Our runs beside published numbers: which run belongs to which cell, and what it came to."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from limbeck.recipes import catalogue
from limbeck.recipes.kinds import STAGES
from limbeck.recipes.published import Cell, PublishedTable, Tables
from limbeck.recipes.schema import Recipe, load_variants
from limbeck.runs.folder import RunFolder

NEUTRAL = (
    "workers",
    "evaluate_every",
    "checkpoint_every",
    "log_every",
    "trackers",
    "channels_last",
    "compile",
)
"""Settings of `train` that change how fast or how closely watched a training is, and not what is trained."""
_SELECTION = ("limit", "per_class", "size", "random_crop", "crop_share", "interpolation")
"""Settings of a source that change which images there are, or how they look; the others say where they lie."""
_PLACES = ("weights", "vgg_weights", "inception_weights")
"""Settings that say where a file of weights lies."""
_ABSENT = object()


@dataclass(frozen=True)
class Trial:
    """One finished run of a cell's stage.

    Attributes:
        path: of the run folder.
        seed: of the stage.
        value: the cell's number, in the table's unit; shares in percent.
        changes: what differs from the recipe, as "student.train.epochs: 240 -> 2"; none in a faithful run.
    """

    path: str
    seed: int
    value: float
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reproduced:
    """A published cell with what our runs say about it.

    Attributes:
        cell: as published.
        trials: what the mean is taken over, one a seed.
        left_out: finished runs that do not count: changed against the recipe, or of a seed that is there already.
    """

    cell: Cell
    trials: tuple[Trial, ...] = ()
    left_out: tuple[Trial, ...] = ()

    @cached_property
    def mean(self) -> float | None:
        """Over seeds."""
        return statistics.fmean(t.value for t in self.trials) if self.trials else None

    @cached_property
    def deviation(self) -> float | None:
        """Standard deviation over seeds, of at least two."""
        return statistics.stdev(t.value for t in self.trials) if len(self.trials) > 1 else None

    @property
    def difference(self) -> float | None:
        """Ours minus theirs."""
        return None if self.mean is None else self.mean - self.cell.reported

    @property
    def faithful(self) -> bool:
        """Whether nothing that counts was changed against the recipe."""
        return not any(t.changes for t in self.trials)

    @property
    def changed(self) -> tuple[Trial, ...]:
        """Runs that were changed against the recipe, counted or not."""
        return tuple(t for t in (*self.trials, *self.left_out) if t.changes)


def reproduce(
    table: PublishedTable, file: Tables, runs: Sequence[RunFolder], *, changed: bool = False
) -> list[Reproduced]:
    """Find what runs say about every cell of a table.

    A run belongs to a cell if it is a run of the cell's recipe and the cell's stage, with all that it builds on,
    had the settings of the recipe; seeds may differ, and so may where the same data lies and settings that change
    nothing but the speed.

    Args:
        table: as published.
        file: the file that it stands in.
        runs: finished or not.
        changed: count runs that were changed against the recipe where there is no faithful one; of several kinds
            of change those that have the most seeds.

    Returns:
        One for each cell, in the table's order.
    """
    by_recipe: dict[str, list[RunFolder]] = {}
    for run in runs:
        by_recipe.setdefault(str(run.resolved.get("name")), []).append(run)
    recipes = {
        name: load_variants(catalogue.read(name)[1], name=name, only=_in_question(name, table, found))
        for name, found in by_recipe.items()
        if any(cell.recipe == name for cell in table.cells)
    }
    result = []
    for cell in table.cells:
        trials: list[Trial] = []
        if cell.recipe is not None and cell.variant in recipes.get(cell.recipe, {}):
            recipe = recipes[cell.recipe][cell.variant]
            trials = _trials(cell, recipe, by_recipe[cell.recipe], file.same_data)
        result.append(_chosen(cell, trials, changed))
    return result


def _in_question(name: str, table: PublishedTable, runs: Iterable[RunFolder]) -> set[str | None]:
    """The variants of a recipe's cells that its runs may belong to; reading them all would take long."""
    tried = {run.resolved.get("variant") for run in runs}
    variants = {cell.variant for cell in table.cells if cell.recipe == name}
    return {v for v in variants if v is None or v in tried or None in tried}


def _trials(cell: Cell, recipe: Recipe, runs: Iterable[RunFolder], same_data: Sequence[str]) -> list[Trial]:
    """Every finished run of a cell's recipe that is of its variant, or equal to it."""
    asked = _with_ancestors(recipe, cell.stage)
    wanted = {name: _comparable(recipe.stage_config(name), same_data) for name in asked}
    shared = _with_ancestors(recipe, cell.stage) == [cell.stage]  # a teacher: every variant has the same
    found = []
    for run in runs:
        folder = run.stage(cell.stage)
        value = _number(folder.result(), cell) if folder.finished else None
        if value is None:
            continue
        changes: list[str] = []
        for name in asked:
            config = run.stage(name).config() or {}
            changes += [f"{name}.{line}" for line in _differences(wanted[name], _comparable(config, same_data))]
        if not changes or shared or run.resolved.get("variant") == cell.variant:
            seed = (folder.config() or {}).get("seed", run.resolved.get("seed", 0))
            found.append(Trial(str(run.path), int(seed), value, tuple(changes)))
    return found


def _chosen(cell: Cell, trials: Sequence[Trial], changed: bool) -> Reproduced:
    groups: dict[tuple[str, ...], dict[int, Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.changes, {}).setdefault(trial.seed, trial)
    counted = groups.get((), {})
    if not counted and changed and groups:
        counted = max(groups.values(), key=len)
    kept = tuple(counted[seed] for seed in sorted(counted))
    return Reproduced(cell, kept, tuple(trial for trial in trials if trial not in kept))


def _with_ancestors(recipe: Recipe, stage: str) -> list[str]:
    asked = [stage]
    for name in asked:  # grows while it is read
        asked += [r for r in recipe.references.get(name, ()) if r in recipe.stages and r not in asked]
    return asked


def _number(result: Mapping[str, Any], cell: Cell) -> float | None:
    """A cell's number in a result as tables show it: shares in percent, others as they are."""
    if cell.method is not None:
        entry = result.get("by_method", {}).get(cell.number)
        of = entry["of"].get(cell.method) if isinstance(entry, dict) else None
        value = statistics.fmean(of.values()) if of and None not in of.values() else None
    else:
        numbers = result.get("numbers")
        entry = numbers.get(cell.number) if isinstance(numbers, dict) else None
        value = entry.get("value") if isinstance(entry, dict) else None
    if entry is None or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) * (100 if entry.get("unit", "fraction") == "fraction" else 1)


def _comparable(config: Mapping[str, Any], same_data: Sequence[str]) -> dict[str, Any]:
    """A stage's settings without what may differ, with the defaults of this release."""
    values: dict[str, Any] = json.loads(json.dumps(_completed(config)))
    for key in ("seed", "weak_teacher"):  # the second only lets a run go on
        values.pop(key, None)
    values = _without_places(values)
    for key in ("source", "test_source"):
        if isinstance(values.get(key), dict):
            values[key] = _choice(values[key], same_data)
    if isinstance(values.get("domains"), dict):
        values["domains"] = {name: _choice(one, same_data) for name, one in values["domains"].items()}
    train = values.get("train")
    if isinstance(train, dict):
        values["train"] = {k: v for k, v in train.items() if k not in NEUTRAL}
    return values


def _choice(source: Any, same_data: Sequence[str]) -> Any:
    """Which images of a source, and how they look, without where they lie; of what it is made of as well."""
    if isinstance(source, list):
        return [_choice(one, same_data) for one in source]
    if not isinstance(source, dict):
        return source
    name = source.get("name")
    inside = {k: _choice(source[k], same_data) for k in ("of", "patches") if k in source}
    return {
        "name": same_data[0] if name in same_data else name,
        **{k: source.get(k) for k in _SELECTION},
        **inside,
    }


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        texts = {key for key in _PLACES if isinstance(value.get(key), str)}
        return {key: _without_places(item) for key, item in value.items() if key not in texts}
    return [_without_places(item) for item in value] if isinstance(value, list) else value


def _completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded configuration with settings that came after it at their defaults."""
    kind = STAGES.get(str(config.get("kind")))
    if kind is None:
        return dict(config)
    try:
        given = {k: v for k, v in config.items() if k != "kind"}
        return {**kind.config_class().model_validate(given).model_dump(mode="json"), "kind": config["kind"]}
    except ValidationError:  # of another release, or of a plugin that is not at hand
        return dict(config)


def _differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    old, new = dict(_leaves(wanted)), dict(_leaves(found))
    return [
        f"{key}: {_shown(old, key)} -> {_shown(new, key)}"
        for key in dict.fromkeys((*old, *new))
        if old.get(key, _ABSENT) != new.get(key, _ABSENT)
    ]


def _leaves(value: Any, place: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list) and value:
        for number, item in enumerate(value):
            yield from _leaves(item, f"{place}.{number}")
    else:
        yield place, value


def _shown(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "absent"
    value = values[key]
    return value if isinstance(value, str) else json.dumps(value)
