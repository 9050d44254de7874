"""Finished stages of other runs are taken over where nothing differs, whole or not at all."""

from __future__ import annotations

import json

import pytest

from limbeck.errors import RunFolderError
from limbeck.recipes.reuse import find_runs
from limbeck.recipes.runner import run_recipe
from limbeck.recipes.schema import load_recipe
from limbeck.runs import RunFolder

SIZES = "source: {name: digits, per_class: 4}, model: resnet8, train: {steps: 1, batch_size: 20}"
TEXT = f"""\
title: Two
stages:
  teacher: {{kind: classify.train, {SIZES}, seed: 7}}
  student: {{kind: classify.distill, teacher: teacher, weak_teacher: true, terms: kd, {SIZES}}}
variants:
  control: {{student: {{terms: control}}}}
"""


def run(out, *overrides, **options):
    variant = options.pop("variant", None)
    recipe = load_recipe(TEXT, name="two", variant=variant, overrides=overrides)
    return run_recipe(recipe, out, command=["limbeck"], device="cpu", **options)


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    """A finished run; not to be written to."""
    return run(tmp_path_factory.mktemp("runs") / "donor")


def events(folder):
    return [(event["kind"], event["stage"]) for event in folder.events()]


def test_one_teacher_serves_another_student(donor, tmp_path):
    taken = run(tmp_path / "run", variant="control", reuse=[donor.path])
    assert events(taken) == [("reused", "teacher"), ("started", "student"), ("finished", "student")]
    assert taken.events()[0]["path"] == str(donor.path / "teacher")
    old, new = donor.stage("teacher").path, taken.stage("teacher").path
    assert new.stat().st_mode & 0o777 == 0o755
    for name in ("config.json", "result.json", "scalars.jsonl", "model.safetensors", "figures/confusion.json"):
        assert (new / name).read_bytes() == (old / name).read_bytes()
    assert not (new / "checkpoints").exists()
    # What may be appended to is a copy; the weights are shared on disk.
    assert (new / "scalars.jsonl").stat().st_ino != (old / "scalars.jsonl").stat().st_ino
    assert (new / "model.safetensors").stat().st_ino == (old / "model.safetensors").stat().st_ino


def test_everything_may_be_taken_over_and_a_folder_of_runs_will_do(donor, tmp_path):
    taken = run(tmp_path / "run", reuse=[donor.path.parent])
    assert events(taken) == [("reused", "teacher"), ("reused", "student")]


def test_the_same_weights_come_out_as_without(donor, tmp_path):
    alone = run(tmp_path / "alone", variant="control")
    taken = run(tmp_path / "taken", variant="control", reuse=[donor.path])
    models = [folder.stage("student").path / "model.safetensors" for folder in (alone, taken)]
    assert models[0].read_bytes() == models[1].read_bytes()


@pytest.mark.parametrize("override", ["teacher.train.steps=2", "teacher.seed=8"])
def test_other_settings_and_other_seeds_are_no_match(donor, tmp_path, override, caplog):
    taken = run(tmp_path / "run", override, reuse=[donor.path])
    assert ("started", "teacher") in events(taken)
    # The student's own settings are equal, and its teacher is another.
    assert ("started", "student") in events(taken)
    assert "--reuse: nothing is taken over" in caplog.text
    assert override.split("=")[0].split(".", 1)[1] in caplog.text


def test_another_run_s_seed_concerns_the_stages_that_have_none_of_their_own(donor, tmp_path):
    taken = run(tmp_path / "run", "seed=1", reuse=[donor.path])
    assert events(taken)[:2] == [("reused", "teacher"), ("started", "student")]


def test_an_unfinished_stage_is_no_match(donor, tmp_path):
    from shutil import copytree

    copytree(donor.path, tmp_path / "half")
    (tmp_path / "half" / "teacher" / "result.json").unlink()
    assert ("started", "teacher") in events(run(tmp_path / "run", reuse=[tmp_path / "half"]))


def test_what_was_begun_here_is_kept_aside(donor, tmp_path):
    begun = RunFolder.create(
        tmp_path / "run",
        recipe_text=TEXT,
        resolved=load_recipe(TEXT, name="two").resolved,
        provenance={},
    )
    begun.stage("teacher").begin(load_recipe(TEXT, name="two").stage_config("teacher"))
    taken = run(tmp_path / "run", reuse=[donor.path])
    assert events(taken)[0] == ("reused", "teacher")
    assert taken.events()[0]["moved_to"] == "teacher.old-1"


def test_fresh_wins(donor, tmp_path):
    taken = run(tmp_path / "run", reuse=[donor.path], fresh=["student"])
    assert events(taken)[:2] == [("reused", "teacher"), ("started", "student")]


def test_a_damaged_model_is_refused_and_nothing_is_left_behind(donor, tmp_path):
    from shutil import copytree

    copytree(donor.path, tmp_path / "bad")
    model = tmp_path / "bad" / "teacher" / "model.safetensors"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    with pytest.raises(
        RunFolderError, match=r"(?s)stage 'teacher' was to be taken over.*damaged.*--reuse"
    ) as caught:
        run(tmp_path / "run", reuse=[tmp_path / "bad"])
    assert caught.value.exit_code == 2
    assert not (tmp_path / "run" / "teacher").exists()
    model.unlink()
    with pytest.raises(RunFolderError, match="damaged"):
        run(tmp_path / "run", reuse=[tmp_path / "bad"])
    # A sound one elsewhere is as good.
    taken = run(tmp_path / "run", reuse=[tmp_path / "bad", donor.path])
    assert taken.events()[0]["path"] == str(donor.path / "teacher")


def test_a_copy_that_fails_leaves_nothing_behind(donor, tmp_path, monkeypatch):
    from limbeck.errors import StorageError

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("limbeck.recipes.reuse._link_or_copy", full)
    with pytest.raises(StorageError, match="No space left"):
        run(tmp_path / "run", reuse=[donor.path])
    assert [p.name for p in (tmp_path / "run").iterdir() if "teacher" in p.name] == []


def test_a_disk_without_links_gets_copies(donor, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    taken = run(tmp_path / "run", reuse=[donor.path])
    new, old = (f.stage("teacher").path / "model.safetensors" for f in (taken, donor))
    assert new.read_bytes() == old.read_bytes()
    assert new.stat().st_ino != old.stat().st_ino


def test_a_path_without_runs_is_said_to_have_none(tmp_path):
    with pytest.raises(RunFolderError, match="does not exist"):
        run(tmp_path / "run", reuse=[tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFolderError, match="holds no run"):
        find_runs(tmp_path / "empty")
    assert find_runs(tmp_path / "empty", none_is_fine=True) == []


def test_runs_are_found_at_any_depth_and_not_inside_each_other(tmp_path):
    for place in ("a/kd/s0", "a/s0", "b"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "resolved.json").write_text(json.dumps({"format": 1, "name": place}))
    (tmp_path / "b" / "inside").mkdir()
    (tmp_path / "b" / "inside" / "resolved.json").write_text("{}")
    found = [found.path.relative_to(tmp_path).as_posix() for found in find_runs(tmp_path)]
    assert found == ["a/kd/s0", "a/s0", "b"]


def test_a_run_does_not_take_over_from_itself(donor, tmp_path):
    done = run(tmp_path / "run", reuse=[donor.path])
    again = run(tmp_path / "run", reuse=[tmp_path / "run"], fresh=["student"])
    assert done.path == again.path
    assert events(again)[-2:] == [("started", "student"), ("finished", "student")]
