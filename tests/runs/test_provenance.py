from __future__ import annotations

import json

import limbeck
from limbeck.runs.provenance import provenance


def test_what_it_says(monkeypatch):
    found = provenance(["limbeck", "run", "demo"], packages=["pytest", "no-such-package"], data="abc")
    assert json.loads(json.dumps(found)) == found
    assert found["command"] == ["limbeck", "run", "demo"]
    assert found["limbeck"]["version"] == limbeck.__version__
    assert found["packages"]["pytest"]
    assert found["packages"]["no-such-package"] is None
    assert found["data"] == "abc"
    assert found["hardware"]["cores"] >= 1
    assert found["time"].endswith("+00:00")


def test_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance([])["limbeck"] == {"version": limbeck.__version__}
