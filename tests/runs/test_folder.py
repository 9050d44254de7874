from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from limbeck.errors import InputError, RunFolderError, StorageError
from limbeck.runs import RunFolder
from limbeck.runs.names import checked_name

RESOLVED = {"title": "Digits", "seed": 0, "stages": {"teacher": {"kind": "classify.train"}, "student": {}}}


def made(path: Path) -> RunFolder:
    return RunFolder.create(path, recipe_text="title: Digits\n", resolved=RESOLVED, provenance={"time": "now"})


def test_a_run_is_found_again(tmp_path):
    made(tmp_path / "run").event("started", stage="teacher")
    run = RunFolder.open(tmp_path / "run")
    assert run.resolved == RESOLVED
    assert run.recipe_text == "title: Digits\n"
    assert run.provenance == {"time": "now"}
    assert [s.name for s in run.stages()] == ["teacher", "student"]
    assert [(e["kind"], e["stage"]) for e in run.events()] == [("started", "teacher")]
    assert run.name == "run"


def test_the_layout_is_numbered(tmp_path):
    made(tmp_path / "run")
    mark = tmp_path / "run" / "resolved.json"
    assert json.loads(mark.read_text())["format"] == 1
    mark.write_text(json.dumps({"format": 2, **RESOLVED}))
    with pytest.raises(RunFolderError, match="layout 2 of a later Limbeck"):
        RunFolder.open(tmp_path / "run")


def test_creating_twice_is_refused(tmp_path):
    made(tmp_path / "run")
    with pytest.raises(RunFolderError, match="holds a run already"):
        made(tmp_path / "run")


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunFolderError, match=r"not empty and not a run folder: it holds thesis\.tex"):
        made(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_creation_that_was_killed_half_way_can_be_repeated(tmp_path):
    (tmp_path / "recipe.yaml").write_text("half")
    (tmp_path / ".resolved.json.abc.tmp").write_text("{")
    assert made(tmp_path).recipe_text == "title: Digits\n"


@pytest.mark.parametrize("content", ["", '{"title": ', "[1]"])
def test_a_damaged_mark_is_said(tmp_path, content):
    (tmp_path / "resolved.json").write_text(content)
    with pytest.raises(RunFolderError, match=r"resolved\.json is damaged"):
        RunFolder.open(tmp_path)


def test_what_is_not_a_run_folder_is_said(tmp_path):
    with pytest.raises(RunFolderError, match="does not exist"):
        RunFolder.open(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match="is a file"):
        RunFolder.open(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFolderError, match=r"has no resolved\.json"):
        RunFolder.open(tmp_path / "empty")
    made(tmp_path / "runs" / "s0").stage("teacher").begin({})
    with pytest.raises(RunFolderError, match=r"holds some\. Give one of: s0"):
        RunFolder.open(tmp_path / "runs")
    with pytest.raises(RunFolderError, match=r"is one stage of the run in .*s0"):
        RunFolder.open(tmp_path / "runs" / "s0" / "teacher")


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "run").write_text("x")
    with pytest.raises(RunFolderError, match="a file stands in the way"):
        made(tmp_path / "run")
    with pytest.raises(RunFolderError, match="a file stands in the way"):
        made(tmp_path / "run" / "deeper")


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (errno.EROFS, RunFolderError, "may write to"),
        (errno.EACCES, RunFolderError, "may write to"),
        (errno.ENOSPC, StorageError, "make room"),
    ],
)
def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch, code, kind, says):
    def refuse(*_, **__):
        raise OSError(code, "no")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(kind, match=says):
        made(tmp_path / "run")


BAD_NAMES = ["", ".", "..", "../x", "a/b", "<b>", "-x", "a b", "x\n", "ä", "a" * 82]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="Allowed: 1 to 81 letters"):
        checked_name("stage", name)
    with pytest.raises(InputError):
        made(tmp_path / "run").stage(name)


def test_a_run_named_like_html_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(InputError, match="cannot be the name of a run"):
        made(tmp_path / "<script>alert(1)<")
    assert list(tmp_path.iterdir()) == []


def test_a_run_named_with_dots_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match=r"'\.\.' cannot be the name of a run"):
        made(tmp_path / "a" / "..")


def test_half_an_event_is_dropped_and_writing_goes_on(tmp_path):
    run = made(tmp_path / "run")
    run.event("started", stage="teacher")
    with (run.path / "events.jsonl").open("a") as file:
        file.write('{"time": "2026-11-21", "ki')
    assert [e["kind"] for e in run.events()] == ["started"]
    run.event("resumed", stage="teacher")
    assert [e["kind"] for e in run.events()] == ["started", "resumed"]
