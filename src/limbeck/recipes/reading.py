"""YAML as pure data, with the line of every value.

The subset is small on purpose: mappings, lists, text, numbers, booleans, null. Anchors, aliases, tags, merge keys and
repeated keys are refused, because each of them makes a file mean something else than it shows. Words are read as YAML
1.2 reads them: `no` is text, `1e-3` is a number.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from limbeck.recipes.problems import Origin, Origins, Path, Problem

_DEPTH = 40
_LARGEST = 1_000_000
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.inf|\.nan", re.IGNORECASE)


@dataclass
class Document:
    """What a file says.

    Attributes:
        data: mappings, lists and scalars.
        origins: the line of every value.
        problems: what is not allowed in it; the data is what could be read all the same.
    """

    data: Any = None
    origins: Origins = field(default_factory=Origins)
    problems: list[Problem] = field(default_factory=list)


def read(text: str) -> Document:
    """Read one YAML document.

    Args:
        text: of the file.

    Example:
        >>> document = read("a: 1\nb: [x, 1e-3]\n")
        >>> document.data, document.origins.of(("b", 1)).line
        ({'a': 1, 'b': ['x', 0.001]}, 2)
        >>> [str(problem) for problem in read("a: &here 1").problems]
        ["line 1, a: the anchor '&here' is not allowed: a recipe says everything where it stands."]
    """
    document = Document()
    if len(text) > _LARGEST:
        document.problems.append(Problem((), f"{len(text):,} characters are too many for a recipe."))
        return document
    try:
        events = [e for e in yaml.parse(text, Loader=yaml.SafeLoader) if not isinstance(e, DocumentStartEvent)]
    except yaml.YAMLError as error:
        document.problems.append(_syntax(error, text))
        return document
    _Reader(events[1:], document).document()
    return document


def scalar(text: str) -> Any:
    """The value of an unquoted word.

    Example:
        >>> scalar("1e-3"), scalar("no"), scalar("true"), scalar("0x10"), scalar("")
        (0.001, 'no', True, '0x10', None)
    """
    if text.lower() in _WORDS and text in (text.lower(), text.capitalize(), text.upper()):
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text) if len(text) < 25 else text
    if _NUMBER.fullmatch(text):
        return float(text)
    return text


class _Reader:
    """Builds the data from parser events, noting lines and what is not allowed."""

    def __init__(self, events: list[Event], document: Document) -> None:
        self._events = iter(events)
        self._out = document

    def document(self) -> None:
        event = next(self._events)
        if isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent | AliasEvent):
            self._out.data = self._value(event, ())
            next(self._events)  # the end of the document
            event = next(self._events)
        if isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent | AliasEvent):
            self._problem((), event, "a second document ('---') begins here; a recipe is one document.")

    def _value(self, event: Event, path: Path) -> Any:
        if path not in self._out.origins:  # the line of the key is better known than that of the value
            self._out.origins[path] = Origin(event.start_mark.line + 1)
        self._refuse_marks(event, path)
        if isinstance(event, AliasEvent):
            return None
        if isinstance(event, ScalarEvent):
            return self._scalar(event, path)
        if len(path) > _DEPTH:
            self._problem(path, event, f"more than {_DEPTH} levels deep.")
        return self._list(path) if isinstance(event, SequenceStartEvent) else self._mapping(path)

    def _scalar(self, event: ScalarEvent, path: Path) -> Any:
        if event.style:  # quoted or block text
            return event.value
        value = scalar(event.value)
        if _NOT_FINITE.fullmatch(event.value) or (isinstance(value, float) and not math.isfinite(value)):
            self._problem(path, event, f"'{event.value}' is not a finite number.")
            return None
        return value

    def _list(self, path: Path) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            found.append(self._value(event, (*path, len(found))))
        return found

    def _mapping(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        first: dict[str, int] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event, path)
            inside = (*path, key)
            line = event.start_mark.line + 1
            if key in first:
                text = f"the key '{key}' stands here again; it was given in line {first[key]}. Keep one."
                self._problem(inside, event, text)
                self._value(next(self._events), (*path, f"{key} (again)"))
                continue
            first[key] = line
            self._out.origins[inside] = Origin(line)
            found[key] = self._value(next(self._events), inside)
        return found

    def _key(self, event: Event, path: Path) -> str:
        self._refuse_marks(event, path)
        if isinstance(event, ScalarEvent):
            if event.value == "<<" and not event.style:
                self._problem(path, event, "the merge key '<<' is not allowed: write the values where they hold.")
            elif not event.value:
                self._problem(path, event, "a key is missing before ':'.")
            return str(event.value)
        if not isinstance(event, AliasEvent):
            self._problem(path, event, "a key must be one word, not a list or a mapping.")
            self._value(event, (*path, "(key)"))
        return f"(line {event.start_mark.line + 1})"

    def _refuse_marks(self, event: Event, path: Path) -> None:
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if isinstance(event, AliasEvent):
            text = f"the alias '*{anchor}' is not allowed: write the value itself."
            self._problem(path, event, text)
        elif anchor is not None:
            text = f"the anchor '&{anchor}' is not allowed: a recipe says everything where it stands."
            self._problem(path, event, text)
        if tag is not None:
            short = tag.replace("tag:yaml.org,2002:", "!!")
            self._problem(path, event, f"the tag '{short}' is not allowed: a recipe is data and runs no code.")

    def _problem(self, path: Path, event: Event, text: str) -> None:
        self._out.problems.append(Problem(path, text, Origin(event.start_mark.line + 1)))


def _syntax(error: yaml.YAMLError, text: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1
        return Problem((), "a control character stands here; a recipe is plain text.", Origin(line))
    said = getattr(error, "problem", None) or "cannot be read"
    around = text.splitlines()[mark.line][:80] if mark.line < len(text.splitlines()) else ""
    if "'\\t'" in said or around[: mark.column + 1].strip(" ").startswith("\t"):
        said = "a tab stands where YAML needs spaces"
    shown = f" In: {around.strip()}" if around.strip() else ""
    return Problem((), f"not valid YAML: {said}.{shown}", Origin(mark.line + 1))
