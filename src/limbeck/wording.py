"""What is wrong with a value, in plain words instead of a validator's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "a mapping (key: value)",
    "mapping": "a mapping (key: value)",
    "model": "a mapping (key: value)",
    "none": "null",
    "path": "a path",
}
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
    "multiple_of": ("a multiple of", "multiple_of"),
}


def with_article(kind: str) -> str:
    """A kind of artefact as it stands in a sentence.

    Example:
        >>> with_article("object_labels"), with_article("image_set"), with_article("flow"), with_article("pairs")
        ('object labels', 'an image set', 'a flow', 'pairs')
    """
    words = kind.replace("_", " ")
    if words.endswith("s") and not words.endswith("ss"):
        return words
    return f"an {words}" if words[:1] in "aeiou" else f"a {words}"


def plain_words(problem: Mapping[str, Any]) -> str:
    """One validation problem as "must be ...", without the value that was given.

    Args:
        problem: type, message, context and input, as pydantic lists them.

    Example:
        >>> plain_words({"type": "int_parsing", "msg": "Input should be a valid integer, unable to ..."})
        'must be a whole number'
        >>> plain_words({"type": "greater_than", "ctx": {"gt": 0}, "msg": "Input should be greater than 0"})
        'must be greater than 0'
    """
    kind, context = str(problem["type"]), problem.get("ctx") or {}
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"must be {words} {context[key]:g}"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "missing":
        return "is needed"
    if kind == "int_from_float":
        return "must be a whole number"
    if kind == "finite_number":
        return "must be a finite number"
    if kind in ("too_short", "too_long"):
        most = kind == "too_long"
        limit = context["max_length" if most else "min_length"]
        return f"must have at {'most' if most else 'least'} {limit} entries"
    expected = _EXPECTED.get(kind.partition("_")[0])
    return f"must be {expected}" if expected else str(problem["msg"]).removeprefix("Value error, ")
