"""The standalone scripts run from start to end, in a shortened form."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))


def test_there_are_examples_and_they_are_short():
    assert len(EXAMPLES) >= 2
    assert all(len(path.read_text().splitlines()) < 150 for path in EXAMPLES)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [str(path), "2"])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.count("accuracy") == 3
