"""From a recipe's text to typed stages, or to one error with every problem of the file."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from limbeck.errors import ConfigError, did_you_mean
from limbeck.recipes import text as yaml_text
from limbeck.recipes.kinds import STAGES, StageKind
from limbeck.recipes.overlay import lay_smoke, lay_variant, override
from limbeck.recipes.places import Problems
from limbeck.recipes.problems import explain
from limbeck.specs import StageConfig
from limbeck.wording import with_article

SCHEMA = 1
"""Version of what recipes may say; written into every run folder."""
_TOP = ("title", "seed", "stages", "variants", "smoke")
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
        variant: the variant that was laid over it, if any.
        variants: names of all that the recipe has.
    """

    name: str
    text: str
    title: str
    seed: int
    stages: Mapping[str, StageConfig]
    kinds: Mapping[str, str]
    references: Mapping[str, tuple[str, ...]]
    smoke: bool = False
    variant: str | None = None
    variants: tuple[str, ...] = ()

    @property
    def resolved(self) -> dict[str, Any]:
        """Every value after defaults, overlay and overrides, as plain data."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "title": self.title,
            "seed": self.seed,
            **({} if self.variant is None else {"variant": self.variant}),
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
    variant: str | None = None,
    smoke: bool = False,
    overrides: Sequence[str] = (),
    kinds: Mapping[str, StageKind] = STAGES,
    base: Path | None = None,
) -> Recipe:
    """Check a recipe and give it types.

    Values come from the defaults in code, then the recipe, then the variant, then the `smoke` overlay if asked
    for, then overrides.

    Args:
        text: of the file.
        name: of the recipe; the run folder is named after it.
        where: the file, for messages; the name unless given.
        variant: lay this one of the recipe's `variants` over its stages.
        smoke: lay the recipe's `smoke` block over its stages.
        overrides: `stage.dotted.key=value`, the value in YAML; `seed=1` for the recipe's own.
        kinds: the stage kinds that exist.
        base: folder against which paths to artefacts are looked up; the current one unless given.

    Raises:
        ConfigError: every problem at once, each with its place, what was given and what would be right.
    """
    document = yaml_text.parse(text, where or name)
    return _typed(document, text, name, where or name, variant, smoke, overrides, kinds, base)


def load_variants(
    text: str,
    *,
    name: str,
    where: str | None = None,
    smoke: bool = False,
    overrides: Sequence[str] = (),
    only: Collection[str | None] | None = None,
    kinds: Mapping[str, StageKind] = STAGES,
    base: Path | None = None,
) -> dict[str | None, Recipe]:
    """Check a recipe as it stands and with each of its variants.

    Args:
        text: of the file.
        name: of the recipe.
        where: the file, for messages; the name unless given.
        smoke: lay the recipe's `smoke` block over its stages.
        overrides: `stage.dotted.key=value`.
        only: these variants, None for the recipe without one; all unless given.
        kinds: the stage kinds that exist.
        base: folder against which paths to artefacts are looked up; the current one unless given.

    Returns:
        Variant -> recipe; None stands for the recipe without one, and comes first.

    Raises:
        ConfigError: the problems of all of them at once; those of a variant alone say so.
    """
    document = yaml_text.parse(text, where or name)
    found: dict[str | None, Recipe] = {}
    problems: list[str] = []
    for variant in (None, *_variant_names(document.data)):
        if only is not None and variant not in only:
            continue
        try:
            found[variant] = _typed(document, text, name, where or name, variant, smoke, overrides, kinds, base)
        except ConfigError as error:
            if not error.problems:
                raise
            said = "" if variant is None else f"variant {variant}: "
            problems += [f"{said}{line}" for line in error.problems if variant is None or line not in problems]
    if problems:
        raise ConfigError.of(where or name, problems)
    return found


def _variant_names(data: Any) -> tuple[str, ...]:
    variants = data.get("variants") if isinstance(data, dict) else None
    return tuple(variants) if isinstance(variants, dict) else ()


def _typed(
    document: yaml_text.Document,
    text: str,
    name: str,
    where: str,
    variant: str | None,
    smoke: bool,
    overrides: Sequence[str],
    kinds: Mapping[str, StageKind],
    base: Path | None,
) -> Recipe:
    problems = Problems(document)
    data = document.data
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"holds a {'list' if isinstance(data, list) else 'single value'}"
        raise ConfigError(f"{where} {what}; a recipe is a mapping with 'title', 'seed' and 'stages'.")
    data = copy.deepcopy(data)
    _check_top(data, problems)
    raw = data.get("stages")
    if isinstance(raw, dict) and raw:
        if variant is not None:
            lay_variant(data, variant, problems)
        if smoke:
            lay_smoke(data, problems)
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
    variants = _variant_names(document.data)
    return Recipe(name, text, title, run_seed, stages, used, references, smoke, variant, variants)


def _check_top(data: Mapping[str, Any], problems: Problems) -> None:
    for key in data:
        if key not in _TOP:
            problems.add(
                (key,), f"a recipe has no key '{key}'.{did_you_mean(key, _TOP)} It has: {', '.join(_TOP)}."
            )
    if "stages" not in data:
        problems.add((), "'stages' is missing: the steps of the recipe, by name, in order.")
    _check_variants(data.get("variants", {}), problems)


def _check_variants(variants: Any, problems: Problems) -> None:
    if not isinstance(variants, dict):
        problems.add(("variants",), f"has to be a mapping of names to values over stages (got {variants!r}).")
        return
    for name, values in variants.items():
        if not _STAGE_NAME.fullmatch(name):
            problems.add(
                ("variants", name),
                "names of variants are lower-case letters, digits, '-' and '_', up to 41, a letter first.",
            )
        if not isinstance(values, dict):
            problems.add(("variants", name), f"has to be a mapping of stages to values (got {values!r}).")


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
        mentioned = _mentioned(config)
        found[name] = tuple(dict.fromkeys(value for _, value in mentioned))
        for place, value in mentioned:
            needs = type(config).INPUTS[str(place[0])]
            reason = _reference_problem(value, needs, earlier, order, stages, base)
            if reason:
                problems.add(("stages", name, *place), reason)
    return found


def _mentioned(config: StageConfig) -> list[tuple[tuple[str, ...], str]]:
    """Every artefact that a stage refers to, with the place: a field's text, or texts in a field's mapping."""
    found: list[tuple[tuple[str, ...], str]] = []
    for field in type(config).INPUTS:
        value = getattr(config, field)
        if isinstance(value, str):
            found.append(((field,), value))
        elif isinstance(value, Mapping):
            found += [((field, key), one) for key, one in value.items() if isinstance(one, str)]
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
        if value not in stages or stages[value].output == needs:
            return None
        wrong = f"stage '{value}' writes {_instead(stages[value].output, needs)}"
        could = next((field for field, kind in stages[value].OUTPUT_WITH.items() if kind == needs), None)
        return wrong if could is None else f"{wrong} With {could}: true it writes one."
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
    return None if writes in (None, needs) else f"{path} holds {_instead(writes, needs)}"


def _instead(writes: str, needs: str) -> str:
    verb = "is" if with_article(needs)[:2] in ("a ", "an") else "are"
    return f"{with_article(writes)}; needed {verb} {with_article(needs)}."
