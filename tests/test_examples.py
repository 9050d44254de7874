"""The standalone scripts run from start to end, in a shortened form."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path

import pytest

NEEDS = {"lightning_module": "lightning", "hugging_face_trainer": "transformers"}
EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))


def test_there_are_examples_and_they_are_short():
    assert len(EXAMPLES) >= 6
    assert all(len(path.read_text().splitlines()) < 150 for path in EXAMPLES)


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=[pytest.mark.slow] * (p.stem == "hugging_face_trainer"), id=p.stem) for p in EXAMPLES],
)
def test_an_example_runs(path, monkeypatch, capsys):
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem])
    monkeypatch.setattr("sys.argv", [str(path), "2"])
    with warnings.catch_warnings():
        if path.stem in NEEDS:
            warnings.simplefilter("ignore")  # theirs, about each other's versions
        runpy.run_path(str(path), run_name="__main__")
    said = capsys.readouterr().out
    assert said.count("accuracy") + said.count("AP50") == 3  # a teacher, a control, a taught one
