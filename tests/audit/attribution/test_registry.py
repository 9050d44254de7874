from __future__ import annotations

import inspect

import pytest

from limbeck.audit.attacks import ATTACKS
from limbeck.audit.attribution import ATTRIBUTIONS


@pytest.mark.parametrize("name", ATTRIBUTIONS)
def test_attributions_are_called_alike(name: str) -> None:
    known = ATTRIBUTIONS.describe(name)
    assert known.inputs == ("network", "images", "targets")
    assert "layer" in known.settings
    assert all(setting.doc and not setting.required for setting in known.settings.values())
    assert list(known.settings) == [
        p.name for p in inspect.signature(ATTRIBUTIONS[name]).parameters.values() if p.kind is p.KEYWORD_ONLY
    ]


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_called_alike(name: str) -> None:
    known = ATTACKS.describe(name)
    assert known.inputs[:3] == ("network", "images", "labels")
    assert set(known.inputs[3:]) <= {"index"}
    assert all(setting.doc and not setting.required for setting in known.settings.values())
    assert isinstance(known.settings["eps"].default, float)
