"""Plugins: code that the user names; what is wrong with one is one message with the line."""

from __future__ import annotations

import sys

import pytest

from limbeck.errors import InputError
from limbeck.losses._registry import LOSSES
from limbeck.recipes.plugins import load_plugins

GOOD = '''
from limbeck.losses import register


@register
def {name}(student, teacher, *, factor: float = 1.0):
    """For a test."""
    return factor * (student - teacher).abs().mean(dim=1)
'''


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch):
    monkeypatch.setattr(LOSSES, "_registered", dict(LOSSES._registered))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("limbeck_plugin_") or name == "my_losses":
            del sys.modules[name]


def test_a_file_registers_its_components(tmp_path):
    (tmp_path / "mine.py").write_text(GOOD.format(name="plugged"))
    load_plugins([str(tmp_path / "mine.py")])
    assert LOSSES.describe("plugged").settings["factor"].default == 1.0


@pytest.mark.parametrize("name", ["my_losses", "my_losses:anything"])
def test_a_module_of_the_current_folder_is_found(tmp_path, monkeypatch, name):
    (tmp_path / "my_losses.py").write_text(GOOD.format(name="plugged_too"))
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    load_plugins([name])
    assert "plugged_too" in LOSSES
    assert sys.path == path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\ndef broken(:\n", "line 2"),
        ("x = 1\n\nraise ValueError('no luck')\n", "line 3 of mine.py: ValueError: no luck"),
        ("import not_a_module_of_this_world\n", "not_a_module_of_this_world"),
    ],
)
def test_a_broken_plugin_is_one_message_with_the_line(tmp_path, text, expected):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(InputError) as caught:
        load_plugins([str(tmp_path / "mine.py")])
    assert expected in str(caught.value)
    assert "mine.py" in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere.py", "no_such_plugin"])
def test_a_missing_plugin_is_said_to_be_missing(name):
    with pytest.raises(InputError, match="no such file"):
        load_plugins([name])
