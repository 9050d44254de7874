"""Stages in order: skipped, resumed, refused, begun again; what happened is on record. Toy stages, no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar, Literal

import pytest

from limbeck.errors import ConfigError, InputError, Interrupted, RunFolderError, StorageError, UnknownNameError
from limbeck.recipes.kinds import StageKind
from limbeck.recipes.runner import default_folder, run_recipe
from limbeck.recipes.schema import load_recipe
from limbeck.specs import StageConfig

CALLS: list[tuple[str, dict[str, str]]] = []
TROUBLE: dict[str, BaseException] = {}


class Make(StageConfig):
    """Writes a number."""

    OUTPUT: ClassVar[str] = "number"
    kind: Literal["toy.make"] = "toy.make"
    value: int = 1


class Double(StageConfig):
    """Reads a number."""

    OUTPUT: ClassVar[str] = "number"
    INPUTS: ClassVar[Mapping[str, str]] = {"of": "number"}
    kind: Literal["toy.double"] = "toy.double"
    of: str


def work(config, folder, context):
    CALLS.append((folder.name, {key: path.name for key, path in context.inputs.items()}))
    if folder.name in TROUBLE:
        raise TROUBLE[folder.name]
    folder.write_result({"kind": "number", "numbers": {}, "summary": "done", "components": []})


KINDS = {
    "toy.make": StageKind(f"{__name__}:Make", f"{__name__}:work", f"{__name__}:work"),
    "toy.double": StageKind(f"{__name__}:Double", f"{__name__}:work", f"{__name__}:work"),
}
TEXT = """
title: Toy
stages:
  one: {kind: toy.make, value: 3}
  two: {kind: toy.double, of: one}
  three: {kind: toy.make}
"""


@pytest.fixture(autouse=True)
def _toys(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())
    CALLS.clear()
    TROUBLE.clear()


def _this_module():
    from types import ModuleType

    module = ModuleType(__name__)
    module.__dict__.update(globals())
    return module


def recipe(*overrides):
    return load_recipe(TEXT, name="toy", overrides=overrides, kinds=KINDS)


def run(out, *overrides, **options):
    return run_recipe(recipe(*overrides), out, command=["limbeck", "run", "toy"], kinds=KINDS, **options)


def kinds_of(folder):
    return [(event["kind"], event.get("stage")) for event in folder.events()]


def test_stages_run_in_order_and_hand_on_their_artefacts(tmp_path):
    folder = run(tmp_path / "run")
    assert CALLS == [("one", {}), ("two", {"one": "one"}), ("three", {})]
    assert kinds_of(folder) == [(k, s) for s in ("one", "two", "three") for k in ("started", "finished")]
    assert json.loads((tmp_path / "run" / "one" / "config.json").read_text())["value"] == 3
    assert folder.recipe_text == TEXT
    assert folder.provenance["command"] == ["limbeck", "run", "toy"]


def test_finished_stages_are_skipped(tmp_path):
    run(tmp_path / "run")
    CALLS.clear()
    folder = run(tmp_path / "run")
    assert CALLS == []
    assert kinds_of(folder)[-3:] == [("skipped", s) for s in ("one", "two", "three")]


def test_an_unfinished_stage_is_resumed(tmp_path):
    TROUBLE["two"] = Interrupted("asked to stop")
    with pytest.raises(Interrupted):
        run(tmp_path / "run")
    TROUBLE.clear()
    CALLS.clear()
    folder = run(tmp_path / "run")
    assert [name for name, _ in CALLS] == ["two", "three"]
    assert ("interrupted", "two") in kinds_of(folder)
    assert ("resumed", "two") in kinds_of(folder)


def test_a_failure_is_recorded_and_what_was_finished_is_kept(tmp_path):
    TROUBLE["two"] = StorageError("the disk is full")
    with pytest.raises(StorageError, match="the disk is full"):
        run(tmp_path / "run")
    from limbeck.runs import RunFolder

    folder = RunFolder.open(tmp_path / "run")
    assert folder.stage("one").finished
    failed = next(event for event in folder.events() if event["kind"] == "failed")
    assert "the disk is full" in failed["error"]


def test_a_changed_stage_is_refused_with_a_diff_and_two_ways_out(tmp_path):
    run(tmp_path / "run")
    CALLS.clear()
    with pytest.raises(ConfigError, match=r"one.value: 3 -> 4") as caught:
        run(tmp_path / "run", "one.value=4")
    assert "--fresh one" in str(caught.value)
    assert "--out" in str(caught.value)
    assert CALLS == []


def test_another_seed_is_a_change(tmp_path):
    run(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"seed: 0 -> 1"):
        run(tmp_path / "run", "seed=1")


def test_fresh_begins_a_stage_again_and_what_builds_on_it(tmp_path):
    run(tmp_path / "run")
    CALLS.clear()
    folder = run(tmp_path / "run", "one.value=4", fresh=["one"])
    assert [name for name, _ in CALLS] == ["one", "two"]
    assert (tmp_path / "run" / "one.old-1" / "result.json").is_file()
    assert folder.resolved["stages"]["one"]["value"] == 4


def test_fresh_names_a_stage(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'three'"):
        run(tmp_path / "run", fresh=["thre"])


def test_a_stage_without_a_result_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("limbeck.runs.stage.StageFolder.write_result", lambda *_: None)
    with pytest.raises(RunFolderError, match=r"without writing .*result\.json"):
        run(tmp_path / "run")


@pytest.mark.parametrize("name", ["<script>", "a b", ".hidden", "x" * 90])
def test_a_run_s_name_has_few_characters(tmp_path, name):
    with pytest.raises(InputError, match="cannot be the name of a run"):
        run(tmp_path / name)


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("x")
    with pytest.raises(RunFolderError, match=r"holds thesis\.tex"):
        run(tmp_path / "run")


def test_a_second_process_is_refused(tmp_path):
    folder = run(tmp_path / "run")
    with folder.lock(), pytest.raises(RunFolderError, match="is being written by"):
        run(tmp_path / "run")


def test_running_again_finds_the_same_folder():
    assert default_folder(recipe()) == default_folder(recipe())
    assert default_folder(recipe()) != default_folder(recipe("seed=1"))
