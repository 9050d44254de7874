"""pydantic's findings in plain words, each at the place in the file that caused it."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from limbeck.errors import did_you_mean
from limbeck.recipes.text import Path
from limbeck.wording import plain_words


def explain(
    error: ValidationError, data: Mapping[str, Any], model: type[BaseModel], kind: str
) -> list[tuple[Path, str]]:
    """Every problem of one stage as (path inside the stage, message).

    Args:
        error: what pydantic found.
        data: what was given.
        model: the stage's configuration class.
        kind: the stage's kind, for messages.
    """
    found: dict[Path, str] = {}
    for problem in error.errors(include_url=False):
        path = _path_in(data, problem["loc"])
        message = _message(problem, path, model, kind)
        # Of the branches of a union the longest message is the one about what was meant.
        if path not in found or len(message) > len(found[path]):
            found[path] = message
    # A problem of a union as a whole says less than the one inside it.
    return [(p, m) for p, m in found.items() if not any(len(q) > len(p) and q[: len(p)] == p for q in found)]


def _path_in(data: Any, location: tuple[int | str, ...]) -> Path:
    """The location without the names that pydantic gives to branches of a union."""
    path: list[str | int] = []
    for number, part in enumerate(location):
        if (isinstance(data, Mapping) and part in data) or (
            isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)
        ):
            data = data[part]  # type: ignore[index]
            path.append(part)
        elif number == len(location) - 1 and isinstance(data, Mapping) and _is_field(part):
            path.append(part)
    return tuple(path)


def _is_field(part: int | str) -> bool:
    return isinstance(part, str) and part.isidentifier() and part not in ("str", "int", "float", "Spec")


def _message(problem: Any, path: Path, model: type[BaseModel], kind: str) -> str:
    given = problem["input"]
    if problem["type"] == "extra_forbidden":
        return _unknown_field(path, model, kind)
    if problem["type"] == "missing":
        place = _model_at(model, path[:-1])
        about = place.model_fields[str(path[-1])].description if place and path[-1] in place.model_fields else None
        return f"is missing. {about}" if about else "is missing."
    text = plain_words(problem)
    if problem["type"] in ("component", "value_error"):
        return text if text.endswith((".", ")")) else f"{text}."
    return f"{text[0].lower()}{text[1:]} (got {_short(given)})."


def _unknown_field(path: Path, model: type[BaseModel], kind: str) -> str:
    name = str(path[-1])
    place = _model_at(model, path[:-1]) or model
    where = next((part for part in reversed(path[:-1]) if isinstance(part, str)), kind)
    fields = [f for f in place.model_fields if f != "kind"]
    near = did_you_mean(name, fields)
    if not near and len(path) == 1:
        nested = {leaf.rpartition(".")[2]: leaf for leaf in _leaves(model)}
        close = did_you_mean(name, nested)
        near = f" Did you mean '{nested[close.split(chr(39))[1]]}'?" if close else ""
    return f"{where} has no field '{name}'.{near} It has: {', '.join(fields)}."


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    key = False  # the next part is a key of a mapping, not a field
    for part in path:
        if isinstance(part, int) or key:
            key = False
            continue
        field = model.model_fields.get(part)
        if field is None:
            return None
        inner = next(_models(field.annotation), None)
        if inner is None:
            return None
        model, key = inner, _holds_mapping(field.annotation)
    return model


def _holds_mapping(annotation: Any) -> bool:
    """Whether a field takes a mapping of names to models."""
    kind = typing.get_origin(annotation)
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return True
    return any(_holds_mapping(part) for part in typing.get_args(annotation))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        inner = next(_models(field.annotation), None)
        if inner is not None and not prefix:
            yield from _leaves(inner, f"{name}.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
