"""From a recipe's text to typed stages, or to one error with every problem of the file."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from limbeck.errors import ConfigError, did_you_mean
from limbeck.recipes import text as yaml_text
from limbeck.recipes.kinds import STAGES, StageKind
from limbeck.recipes.overlay import lay_over, override
from limbeck.recipes.places import Problems
from limbeck.recipes.problems import explain
from limbeck.specs import StageConfig

SCHEMA = 1
"""Version of what recipes may say; written into every run folder."""
_TOP = ("title", "seed", "stages", "smoke")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")


@dataclass(frozen=True)
class Recipe:
    """A recipe that was checked from end to end.

    Attributes:
        name: of the file or library entry.
        text: of the file, byte for byte.
        title: one line.
        seed: of everything that is drawn.
        stages: name -> configuration, in order.
        kinds: name -> kind.
        references: stage -> what its fields refer to (stage names or paths).
        smoke: whether the smoke overlay was laid over it.
    """

    name: str
    text: str
    title: str
    seed: int
    stages: Mapping[str, StageConfig]
    kinds: Mapping[str, str]
    references: Mapping[str, tuple[str, ...]]
    smoke: bool = False

    @property
    def resolved(self) -> dict[str, Any]:
        """Every value after defaults, overlay and overrides, as plain data."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "title": self.title,
            "seed": self.seed,
            "stages": {name: self.stage_config(name) for name in self.stages},
        }

    def stage_config(self, name: str) -> dict[str, Any]:
        """One stage's part of it; a stage without a seed of its own records the run's."""
        values: dict[str, Any] = self.stages[name].model_dump(mode="json")
        if values.get("seed") is None:
            values["seed"] = self.seed
        return {"kind": self.kinds[name], **{k: v for k, v in values.items() if k != "kind"}}


def load_recipe(
    text: str,
    *,
    name: str,
    where: str | None = None,
    smoke: bool = False,
    overrides: Sequence[str] = (),
    kinds: Mapping[str, StageKind] = STAGES,
    base: Path | None = None,
) -> Recipe:
    """Check a recipe and give it types.

    Values come from the defaults in code, then the recipe, then its `smoke` overlay if asked for, then overrides.

    Args:
        text: of the file.
        name: of the recipe; the run folder is named after it.
        where: the file, for messages; the name unless given.
        smoke: lay the recipe's `smoke` block over its stages.
        overrides: `stage.dotted.key=value`, the value in YAML; `seed=1` for the recipe's own.
        kinds: the stage kinds that exist.
        base: folder against which paths to artefacts are looked up; the current one unless given.

    Raises:
        ConfigError: every problem at once, each with its place, what was given and what would be right.
    """
    where = where or name
    document = yaml_text.parse(text, where)
    problems = Problems(document)
    data = document.data
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"holds a {'list' if isinstance(data, list) else 'single value'}"
        raise ConfigError(f"{where} {what}; a recipe is a mapping with 'title', 'seed' and 'stages'.")
    data = copy.deepcopy(data)
    _check_top(data, problems)
    raw = data.get("stages")
    if isinstance(raw, dict) and raw:
        if smoke:
            lay_over(data, problems)
        override(data, overrides, problems)
    else:
        if "stages" in data:
            problems.add(("stages",), "needs at least one named stage, e.g. teacher: {kind: classify.train, ...}.")
        data["stages"] = {}
    _check_seed_and_title(data, problems)
    stages, used = _stages(data["stages"], kinds, problems)
    references = _references(stages, used, data["stages"], problems, base or Path())
    if problems.lines:
        raise ConfigError.of(where, [line for _, line in sorted(problems.lines, key=lambda p: p[0])])
    title, run_seed = str(data.get("title", name)), int(data.get("seed", 0))
    return Recipe(name, text, title, run_seed, stages, used, references, smoke)


def _check_top(data: Mapping[str, Any], problems: Problems) -> None:
    for key in data:
        if key not in _TOP:
            problems.add(
                (key,), f"a recipe has no key '{key}'.{did_you_mean(key, _TOP)} It has: {', '.join(_TOP)}."
            )
    if "stages" not in data:
        problems.add((), "'stages' is missing: the steps of the recipe, by name, in order.")


def _check_seed_and_title(data: Mapping[str, Any], problems: Problems) -> None:
    seed = data.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        problems.add(("seed",), f"has to be a whole number of at least 0 (got {seed!r}).")
    if not isinstance(data.get("title", ""), str):
        problems.add(("title",), f"has to be text (got {data['title']!r}).")


def _stages(
    raw: Mapping[str, Any], kinds: Mapping[str, StageKind], problems: Problems
) -> tuple[dict[str, StageConfig], dict[str, str]]:
    stages: dict[str, StageConfig] = {}
    used: dict[str, str] = {}
    for name, values in raw.items():
        place = ("stages", name)
        if not _STAGE_NAME.fullmatch(name):
            problems.add(
                place, "stage names are lower-case letters, digits, '-' and '_', up to 41, a letter first."
            )
            continue
        if not isinstance(values, dict):
            problems.add(place, f"has to be a mapping with a 'kind' (got {values!r}).")
            continue
        kind = str(values.get("kind") or "")
        if kind not in kinds:
            known = ", ".join(kinds)
            what = f"unknown stage '{kind}'.{did_you_mean(kind, kinds)}" if kind else "is missing."
            problems.add((*place, "kind"), f"{what} Known: {known}.")
            continue
        used[name] = kind
        model = kinds[kind].config_class()
        given = {k: v for k, v in values.items() if k != "kind"}
        try:
            stages[name] = model.model_validate(given)
        except ValidationError as error:
            for path, message in explain(error, given, model, kind):
                problems.add((*place, *path), message)
    return stages, used


def _references(
    stages: Mapping[str, StageConfig],
    used: Mapping[str, str],
    raw: Mapping[str, Any],
    problems: Problems,
    base: Path,
) -> dict[str, tuple[str, ...]]:
    """What each stage refers to, checked: an earlier stage that writes what is needed, or something on disk."""
    found: dict[str, tuple[str, ...]] = {}
    order = list(raw)
    for name, config in stages.items():
        earlier = order[: order.index(name)]
        values = {f: getattr(config, f) for f in type(config).INPUTS if isinstance(getattr(config, f), str)}
        found[name] = tuple(values.values())
        for field, value in values.items():
            needs = type(config).INPUTS[field]
            reason = _reference_problem(value, needs, earlier, order, stages, base)
            if reason:
                problems.add(("stages", name, field), reason)
    return found


def _reference_problem(
    value: str,
    needs: str,
    earlier: Sequence[str],
    order: Sequence[str],
    stages: Mapping[str, StageConfig],
    base: Path,
) -> str | None:
    if value in earlier:
        writes = type(stages[value]).OUTPUT if value in stages else needs
        return None if writes == needs else f"stage '{value}' writes a {writes}; needed is a {needs}."
    if value in order:
        return f"stage '{value}' comes later or is this one; a stage can refer to earlier stages alone."
    if (base / value).exists():
        return _artefact_problem(base / value, needs)
    listed = ", ".join(earlier) or "none"
    return (
        f"no earlier stage named '{value}' and no such file or folder.{did_you_mean(value, earlier)} "
        f"Earlier stages: {listed}."
    )


def _artefact_problem(path: Path, needs: str) -> str | None:
    """What speaks against a file or folder as an artefact; a model file says what it is when it is loaded."""
    try:
        result = json.loads((path / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    writes = result.get("kind") if isinstance(result, dict) else None
    return None if writes in (None, needs) else f"{path} holds a {writes}; needed is a {needs}."
