"""The papers behind a run: keys in the docstrings of what it used, entries from the bibliography."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from limbeck.recipes.kinds import STAGES
from limbeck.registry import Registry


def bibliography() -> dict[str, str]:
    """BibTeX entries by key."""
    text = files("limbeck").joinpath("references.bib").read_text(encoding="utf-8")
    entries = re.split(r"^(?=@)", text, flags=re.MULTILINE)
    return {m.group(1): e.strip() for e in entries if (m := re.match(r"@\w+\{([^,\s]+),", e))}


def names_in(value: Any) -> set[str]:
    """Every component's name in resolved stages."""
    if isinstance(value, dict):
        own = {value["name"]} if isinstance(value.get("name"), str) else set()
        return own.union(*(names_in(item) for item in value.values()))
    if isinstance(value, list | tuple):
        return set().union(*(names_in(item) for item in value))
    return set()


def stage_keys(stages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Citation keys of resolved stages themselves, sorted; kinds that are not known here are passed over."""
    found: set[str] = set()
    for values in stages.values():
        kind = STAGES.get(str(values.get("kind")))
        if kind is not None:
            given = {key: value for key, value in values.items() if key != "kind"}
            found.update(kind.config_class().model_validate(given).cites())
    return sorted(found & bibliography().keys())


def keys_of(names: Iterable[str], registries: Iterable[Registry]) -> list[str]:
    """Citation keys of components, sorted; names that nothing answers to are passed over."""
    known = bibliography()
    found: set[str] = set()
    for registry in registries:
        for name in names:
            if name in registry:
                found.update(re.findall(r"\[([a-z]+\d{4}\w*)\]", registry.describe(name).doc))
    return sorted(found & known.keys())
