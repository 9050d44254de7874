"""YAML as pure data: no anchors, no tags, no duplicate keys, and every value knows its line.

Two traps of YAML 1.1 are closed: `1e-4` is a number, and only `true` and `false` are booleans (`no`, `on` and
`yes` are words).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from limbeck.errors import ConfigError

Path = tuple[str | int, ...]


@dataclass
class Document:
    """The data of a file, the line of every value, and what is wrong with the text itself.

    Attributes:
        data: plain dictionaries, lists, strings and numbers.
        lines: path of a value -> line in the file, counted from 1.
        problems: (line, message) of each.
    """

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def line(self, path: Path) -> int | None:
        """The line of a value, or of the nearest thing around it that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


class _Loader(yaml.SafeLoader):
    """The safe loader with fewer surprises in what a bare word means."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|)$", ["~", "n", ""]),
    ("bool", r"^(?:true|false)$", ["t", "f"]),
    ("int", r"^[-+]?(?:0|[1-9][0-9_]*)$", list("-+0123456789")),
    (
        "float",
        r"^[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)$",
        list("-+0123456789."),
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)

_PLAIN = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str"))


def parse(text: str, name: str) -> Document:
    """Read a recipe's text.

    Args:
        text: of the file.
        name: of the file, for messages.

    Raises:
        ConfigError: the text is no YAML at all.
    """
    try:
        return _parsed(text)
    except RecursionError as error:
        raise ConfigError(f"{name}: brackets or blocks are nested too deeply for a recipe.") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{name} line {line}: a control character stands here; a recipe is plain text."
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        hint = " YAML indents with spaces, never with tabs." if "\\t" in str(error) else ""
        raise ConfigError(
            f"{name}{place}: this is not valid YAML: {error.problem or error.context}.{hint}"
        ) from error


def _parsed(text: str) -> Document:
    document = Document()
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        _refuse_marks(text, document)
        if node is not None:
            document.data = _value(node, (), document, loader)
    finally:
        loader.dispose()
    return document


def parse_value(text: str) -> Any:
    """The value of one `--set`, read as YAML: `0.1` is a number, `[a, b]` a list, `resnet8` a word."""
    return parse(text, "--set").data


def _refuse_marks(text: str, document: Document) -> None:
    for event in yaml.parse(text, Loader=_Loader):
        if event.start_mark is None:
            continue
        line = event.start_mark.line + 1
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            document.problems.append((line, f"'{sign}{anchor}': anchors are not part of recipes; write it out."))
        if tag:
            short = tag.replace("tag:yaml.org,2002:", "!!")
            document.problems.append((line, f"'{short}': tags are not part of recipes; they are pure data."))


def _value(node: yaml.Node, path: Path, document: Document, loader: _Loader) -> Any:
    line = node.start_mark.line + 1
    document.lines.setdefault(path, line)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document, loader)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, i), document, loader) for i, item in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode)
    if node.tag not in _PLAIN:
        return None  # reported with the other tags
    try:
        return loader.construct_object(node)
    except (ValueError, yaml.YAMLError) as error:
        document.problems.append(
            (line, f"'{node.value}' cannot be read as {node.tag.rpartition(':')[2]}: {error}")
        )
        return None


def _mapping(node: yaml.MappingNode, path: Path, document: Document, loader: _Loader) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.problems.append((line, "a key has to be a word."))
            continue
        key = str(key_node.value)
        if key == "<<":
            document.problems.append((line, "'<<': merging is not part of recipes; write the values out."))
            continue
        if key in found:
            first = document.lines[(*path, key)]
            document.problems.append((line, f"the key '{key}' stands here and in line {first}; keep one."))
            continue
        document.lines[(*path, key)] = line
        found[key] = _value(value_node, (*path, key), document, loader)
    return found
