"""From a recipe's text to typed stages, or to one error with every problem of the file."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from limbeck.errors import ConfigError, did_you_mean
from limbeck.recipes import text as yaml_text
from limbeck.recipes.kinds import STAGES, StageKind
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
    """

    name: str
    text: str
    title: str
    seed: int
    stages: Mapping[str, StageConfig]
    kinds: Mapping[str, str]
    references: Mapping[str, tuple[str, ...]]

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


class _Problems:
    """Collects problems with their places."""

    def __init__(self, document: yaml_text.Document) -> None:
        self._document = document
        self.lines: list[tuple[int, str]] = [(line, f"line {line}: {text}") for line, text in document.problems]
        self.smoke = False
        self.options: dict[yaml_text.Path, str] = {}
        """Place -> the `--set` that put a value there."""

    def add(self, path: yaml_text.Path, message: str) -> None:
        if path[:1] == ("--set",):
            self.lines.append((0, f"--set {path[1]}: {message}"))
            return
        option = self._option(path, message)
        if option is not None:
            self.lines.append((0, f"{option}: {message}"))
            return
        overlay = ("smoke", *path[1:])
        line = self._document.line(overlay if self.smoke and overlay in self._document.lines else path)
        dotted = ".".join(str(part) for part in path) or "recipe"
        place = f" (line {line})" if line is not None else ""
        self.lines.append((line or 0, f"{dotted}{place}: {message}"))

    def _option(self, path: yaml_text.Path, message: str) -> str | None:
        """The option that is to blame: it set the value, what is around it, or the setting that is mentioned."""
        for place, option in self.options.items():
            if path[: len(place)] == place or (place[: len(path)] == path and f"'{place[-1]}'" in message):
                return option
        return None


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
    problems = _Problems(document)
    data = document.data
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"holds a {'list' if isinstance(data, list) else 'single value'}"
        raise ConfigError(f"{where} {what}; a recipe is a mapping with 'title', 'seed' and 'stages'.")
    data = copy.deepcopy(data)
    _check_top(data, problems)
    raw = data.get("stages")
    if isinstance(raw, dict) and raw:
        if smoke:
            _overlay(data, problems)
        _override(data, overrides, problems)
    else:
        if "stages" in data:
            problems.add(("stages",), "needs at least one named stage, e.g. teacher: {kind: classify.train, ...}.")
        data["stages"] = {}
    _check_seed_and_title(data, problems)
    stages, used = _stages(data["stages"], kinds, problems)
    references = _references(stages, used, data["stages"], problems, base or Path())
    if problems.lines:
        raise ConfigError.of(where, [line for _, line in sorted(problems.lines, key=lambda p: p[0])])
    return Recipe(name, text, str(data.get("title", name)), int(data.get("seed", 0)), stages, used, references)


def _check_top(data: Mapping[str, Any], problems: _Problems) -> None:
    for key in data:
        if key not in _TOP:
            problems.add(
                (key,), f"a recipe has no key '{key}'.{did_you_mean(key, _TOP)} It has: {', '.join(_TOP)}."
            )
    if "stages" not in data:
        problems.add((), "'stages' is missing: the steps of the recipe, by name, in order.")


def _check_seed_and_title(data: Mapping[str, Any], problems: _Problems) -> None:
    seed = data.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        problems.add(("seed",), f"has to be a whole number of at least 0 (got {seed!r}).")
    if not isinstance(data.get("title", ""), str):
        problems.add(("title",), f"has to be text (got {data['title']!r}).")


def _overlay(data: dict[str, Any], problems: _Problems) -> None:
    smoke, stages = data.get("smoke"), data["stages"]
    if not isinstance(smoke, dict):
        problems.add(("smoke",), "a smoke run was asked for, and the recipe has no 'smoke' block.")
        return
    problems.smoke = True
    for name, values in smoke.items():
        if name not in stages:
            known = ", ".join(stages)
            problems.add(
                ("smoke", name), f"no stage is named '{name}'.{did_you_mean(name, stages)} Stages: {known}."
            )
        elif isinstance(values, dict) and isinstance(stages[name], dict):
            stages[name] = _merged(stages[name], values)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping over another. A component of another name replaces the old one with its settings."""
    if "name" in above and "name" in below and above["name"] != below["name"]:
        return dict(above)
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _override(data: dict[str, Any], overrides: Sequence[str], problems: _Problems) -> None:
    for text in overrides:
        key, equals, value = text.partition("=")
        parts = key.strip().split(".")
        if not equals or not key.strip():
            problems.add(("--set", text), "has to read stage.key=value, e.g. student.train.epochs=10.")
            continue
        if parts[0] not in data["stages"] and parts != ["seed"] and parts != ["title"]:
            known = [*data["stages"], "seed", "title"]
            hint = did_you_mean(parts[0], known)
            problems.add(("--set", key), f"'{parts[0]}' is no stage.{hint} There are: {', '.join(known)}.")
            continue
        try:
            parsed = yaml_text.parse_value(value)
        except ConfigError as error:
            problems.add(("--set", key), str(error))
            continue
        target = data if parts[0] in ("seed", "title") else data["stages"]
        reason = _put(target, parts, parsed)
        if reason:
            problems.add(("--set", key), reason)
        else:
            place = tuple(int(part) if part.isdigit() else part for part in parts)
            if target is not data:
                place = ("stages", *place)
            problems.options[place] = f"--set {key.strip()}"


def _put(target: Any, parts: Sequence[str], value: Any) -> str | None:
    """Set a value deep inside; the reason why it cannot be set, or None."""
    for number, part in enumerate(parts[:-1]):
        here = ".".join(parts[: number + 1])
        if isinstance(target, list):
            if not part.isdigit() or int(part) >= len(target):
                return f"'{here}' is no place in a list of {len(target)}; count from 0."
            target = target[int(part)]
            continue
        inner = target.get(part)
        if isinstance(inner, str) and parts[number + 1].isdigit():
            return (
                f"'{here}' is the name {inner!r}, not a list; write the list out in the recipe to change a part."
            )
        if isinstance(inner, str):  # shorthand of a component: make room for its settings
            inner = target[part] = {"name": inner}
        if inner is None:
            inner = target[part] = {}
        if not isinstance(inner, dict | list):
            return f"'{here}' is {inner!r}, which has nothing inside."
        target = inner
    last = parts[-1]
    if isinstance(target, list):
        if not last.isdigit() or int(last) >= len(target):
            return f"'{last}' is no place in a list of {len(target)}; count from 0."
        target[int(last)] = value
    else:
        target[last] = value
    return None


def _stages(
    raw: Mapping[str, Any], kinds: Mapping[str, StageKind], problems: _Problems
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
    problems: _Problems,
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
        return None
    listed = ", ".join(earlier) or "none"
    return (
        f"no earlier stage named '{value}' and no such file or folder.{did_you_mean(value, earlier)} "
        f"Earlier stages: {listed}."
    )
