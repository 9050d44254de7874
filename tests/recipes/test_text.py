"""YAML as pure data: what words mean, where values stand, what is refused."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import ConfigError
from limbeck.recipes.text import parse, parse_value


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1", 1),
        ("-3", -3),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1e-3", 0.001),
        ("2E4", 20000.0),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("True", "True"),
        ("0x10", "0x10"),
        ("010", "010"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        (".inf", ".inf"),
        ("resnet8", "resnet8"),
        ("'4'", "4"),
        ("[a, 1]", ["a", 1]),
        ("{a: {b: 2}}", {"a": {"b": 2}}),
    ],
)
def test_words_mean_what_they_show(word, value):
    found = parse_value(word)
    assert found == value
    assert type(found) is type(value)


def test_every_value_knows_its_line():
    document = parse("a: 1\nb:\n  - x\n  - {c: 2,\n     d: 3}\n", "my.yaml")
    assert document.line(("a",)) == 1
    assert document.line(("b", 0)) == 3
    assert document.line(("b", 1, "d")) == 5
    assert document.line(("b", 1, "nothing", "here")) == 4  # of what is around it
    assert document.problems == []


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: &x 2\n", 2, "'&x': anchors"),
        ("a: &x 2\nb: *x\n", 2, r"'\*x': anchors"),
        ("a:\n  b: !!str 2\n", 2, "'!!str': tags"),
        ("a: !mine 2\n", 1, "'!mine': tags"),
        ("a: !!binary aGk=\n", 1, "'!!binary': tags"),
        ("a: !!python/name:os.system ''\n", 1, "!!python/name:os.system"),
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' stands here and in line 1"),
        ("a:\n  <<: {b: 1}\n", 2, "'<<'"),
        ("? [a, b]\n: 1\n", 1, "a key has to be a word"),
    ],
)
def test_what_hides_its_meaning_is_refused_with_the_line(text, line, words):
    problems = parse(text, "my.yaml").problems
    assert any(at == line and re.search(words, said) for at, said in problems), problems


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1,\nb: 2", r"my\.yaml line \d, column \d+: this is not valid YAML"),
        ("a:\n\tb: 1", r"my\.yaml line 2, column 1.*never with tabs"),
        ("a: 1\nb: \x07", r"my\.yaml line 2: a control character"),
        ("a: " + "[" * 3000, "nested too deeply|not valid YAML"),
        ("a: 1\n---\nb: 2\n", "my.yaml line 2.*not valid YAML"),
    ],
)
def test_what_is_no_yaml_is_one_error_with_its_place(text, words):
    with pytest.raises(ConfigError, match=words):
        parse(text, "my.yaml")


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!#|>'\"\n\t ,.01?%@`\x00é", max_size=40))
def test_any_text_is_data_or_one_error(text):
    with contextlib.suppress(ConfigError):  # any other exception would fail
        assert isinstance(parse(text, "my.yaml").data, dict | list | str | int | float | bool | None)
