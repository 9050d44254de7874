"""Values over values: a variant and the smoke block over the stages, `--set` over both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.errors import ConfigError, did_you_mean
from limbeck.recipes.places import Problems
from limbeck.recipes.text import Path, parse_value


def lay_smoke(data: dict[str, Any], problems: Problems) -> None:
    """Lay the recipe's `smoke` block over its stages, in place."""
    smoke = data.get("smoke")
    if not isinstance(smoke, dict):
        problems.add(("smoke",), "a smoke run was asked for, and the recipe has no 'smoke' block.")
        return
    _lay_over(data, smoke, ("smoke",), problems)


def lay_variant(data: dict[str, Any], variant: str, problems: Problems) -> None:
    """Lay one of the recipe's `variants` over its stages, in place."""
    variants = data.get("variants")
    known = variants if isinstance(variants, dict) else {}
    if variant not in known:
        listed = f"It has: {', '.join(known)}." if known else "It has none."
        problems.add(
            ("--variant", variant), f"the recipe has no such variant.{did_you_mean(variant, known)} {listed}"
        )
    elif isinstance(known[variant], dict):
        _lay_over(data, known[variant], ("variants", variant), problems)


def _lay_over(data: dict[str, Any], overlay: Mapping[str, Any], place: Path, problems: Problems) -> None:
    """Merge an overlay into the stages; a stage that only the overlay has, with a kind, comes before the rest.

    A stage of another kind replaces the old one with its settings, as a component of another name does.
    """
    stages: dict[str, Any] = data["stages"]
    problems.overlays.append(place)
    added: dict[str, Any] = {}
    for name, values in overlay.items():
        if name in stages:
            if isinstance(values, dict) and isinstance(stages[name], dict):
                other = "kind" in values and values["kind"] != stages[name].get("kind")
                stages[name] = values if other else _merged(stages[name], values)
        elif isinstance(values, dict) and "kind" in values:
            added[name] = values
        else:
            known = ", ".join(stages)
            problems.add(
                (*place, name),
                f"no stage is named '{name}'.{did_you_mean(name, stages)} Stages: {known}. "
                "A stage of the overlay's own needs a 'kind'.",
            )
    data["stages"] = {**added, **stages}


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping over another. A component of another name replaces the old one with its settings."""
    if "name" in above and "name" in below and above["name"] != below["name"]:
        return dict(above)
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def override(data: dict[str, Any], overrides: Sequence[str], problems: Problems) -> None:
    """Put the values of `--set` where they belong, in place."""
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
            parsed = parse_value(value)
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
