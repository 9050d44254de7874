from __future__ import annotations

import math

import pytest

from limbeck.errors import InputError, RunFolderError
from limbeck.runs import RunFolder, StageFolder


@pytest.fixture
def stage(tmp_path) -> StageFolder:
    run = RunFolder.create(tmp_path / "run", recipe_text="", resolved={"stages": {"a": {}}}, provenance={})
    return run.stage("a")


def test_from_beginning_to_result(stage):
    assert not stage.begun
    stage.begin({"train": {"epochs": 2}})
    assert stage.begun
    assert not stage.finished
    with pytest.raises(RunFolderError, match=r"stage 'a' .* is not finished"):
        stage.result()
    stage.write_result({"kind": "classifier"})
    assert stage.finished
    assert stage.result() == {"kind": "classifier"}


def test_beginning_again_with_the_same_configuration_changes_nothing(stage):
    stage.begin({"seeds": (0, 1)})  # a tuple becomes a list on disk and still compares equal
    before = (stage.path / "config.json").stat().st_mtime_ns
    stage.begin({"seeds": (0, 1)})
    assert (stage.path / "config.json").stat().st_mtime_ns == before


def test_a_changed_configuration_is_refused_with_the_difference(stage):
    stage.begin({"train": {"epochs": 240, "lr": 0.1}, "terms": [{"weight": 1.0}], "old": None})
    changed = {"train": {"epochs": 120, "lr": 0.1}, "terms": [{"weight": 1.0}, {"weight": 2.0}]}
    lines = stage.compare(changed)
    assert lines == ["train.epochs: 240 -> 120", "old: null -> absent", "terms[1].weight: absent -> 2.0"]
    with pytest.raises(RunFolderError, match=r"train\.epochs: 240 -> 120(.|\n)*--fresh a"):
        stage.begin(changed)
    assert stage.config()["train"]["epochs"] == 240


def test_nothing_recorded_means_nothing_differs(stage):
    assert stage.compare({"x": 1}) == []


@pytest.mark.parametrize("content", ["", '{"kind": "classi', "null", "\x00\x00"])
def test_a_result_that_is_not_json_counts_as_unfinished(stage, content):
    stage.begin({})
    (stage.path / "result.json").write_text(content)
    assert not stage.finished
    with pytest.raises(RunFolderError):
        stage.result()


def test_reset_moves_aside_and_counts_up(stage):
    assert stage.reset() is None
    for number in (1, 2):
        stage.begin({"n": number})
        assert stage.reset().name == f"a.old-{number}"
    assert not stage.begun
    assert (stage.path.parent / "a.old-2" / "config.json").exists()


def test_scalars_round_trip_and_drop_half_a_line(stage):
    stage.write_scalars({"step": 1, "epoch": 1, "loss": 2.5, "loss/kd": 1.25})
    with (stage.path / "scalars.jsonl").open("ab") as file:
        file.write('{"step": 2, "löss": 1.'.encode()[:11])  # cut inside a letter
    assert stage.read_scalars() == [{"step": 1, "epoch": 1, "loss": 2.5, "loss/kd": 1.25}]
    stage.write_scalars({"step": 2, "epoch": 1, "loss": 2.0})
    assert [line["step"] for line in stage.read_scalars()] == [1, 2]


def test_numbers_that_are_not_finite_stay_valid_json(stage):
    stage.write_scalars({"step": 1, "loss": math.nan, "lr": math.inf, "x": 1.0})
    text = (stage.path / "scalars.jsonl").read_text()
    assert text == '{"step": 1, "loss": null, "lr": null, "x": 1.0, "nonfinite": ["loss", "lr"]}\n'
    (line,) = stage.read_scalars()
    assert math.isnan(line["loss"])
    assert "nonfinite" not in line
    stage.write_result({"numbers": {"accuracy": {"value": math.nan}}})
    assert stage.result() == {"numbers": {"accuracy": {"value": None}}}


def test_truncating_keeps_what_the_checkpoint_knows(stage):
    stage.truncate_scalars(5)  # nothing there: nothing to do
    for step in (1, 2, 3):
        stage.write_scalars({"step": step})
    with (stage.path / "scalars.jsonl").open("a") as file:
        file.write('{"step": 4')
    stage.truncate_scalars(2)
    stage.write_scalars({"step": 3, "again": 1})
    assert stage.read_scalars() == [{"step": 1}, {"step": 2}, {"step": 3, "again": 1}]


def test_reading_what_was_never_written(stage):
    assert stage.read_scalars() == []
    assert stage.tables() == stage.figures() == stage.images() == {}
    assert stage.trials() == []
    assert stage.config() is None


def test_tables_figures_images(stage):
    stage.write_table("t", {"title": "T", "rows": []})
    stage.write_figure("f", {"kind": "bars"})
    stage.write_image("i", b"\x89PNG", "a picture")
    (stage.path / "figures" / "broken.json").write_text('{"kind"')
    (stage.path / "figures" / ".f.json.abc.tmp").write_text("{}")
    (stage.path / "figures" / ".g.json").write_text("{}")
    assert stage.tables() == {"t": {"title": "T", "rows": []}}
    assert stage.figures() == {"f": {"kind": "bars"}}
    assert stage.images() == {"i": (b"\x89PNG", "a picture")}
    with pytest.raises(InputError, match="name of a figure"):
        stage.write_figure("../f", {})


def test_trials_are_stages_inside(stage):
    for seed in (1, 0):
        stage.trial(f"kd-s{seed}").begin({"seed": seed})
    stage.trial("never-begun")
    stage.trial("again").begin({})
    stage.trial("again").reset()
    assert [t.name for t in stage.trials()] == ["kd-s0", "kd-s1"]
    assert stage.trials()[0].path == stage.path / "trials" / "kd-s0"
    with pytest.raises(InputError):
        stage.trial("../x")
