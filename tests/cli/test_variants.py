"""Variants and reuse on the command line."""

from __future__ import annotations

import json

PAIR = "cifar100/resnet56-resnet20"
RECIPE = """\
title: Tiny
stages:
  teacher:
    kind: classify.train
    source: {name: digits, per_class: 4}
    model: resnet8
    train: {steps: 1, batch_size: 20}
    seed: 0
  student:
    kind: classify.distill
    teacher: teacher
    weak_teacher: true
    source: {name: digits, per_class: 4}
    model: resnet8
    terms: kd
    train: {steps: 1, batch_size: 20}
variants:
  control: {student: {terms: control}}
  hint: {student: {terms: hint}}
"""


def test_recipes_are_listed_and_shown_with_their_variants(cli):
    listed = " ".join(cli("list", "recipes").out.split())
    assert "Variants: control, kd, hint" in listed
    shown = cli("show", PAIR).out
    last = shown.rstrip().splitlines()[-1]
    assert last.startswith("# ")
    assert f"limbeck run {PAIR} --variant NAME): control, kd, hint" in last


def test_check_takes_every_variant(cli, tmp_path):
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    done = cli("check", "tiny.yaml", "--syntax")
    assert (done.code, done.out.splitlines()[-1]) == (0, "with each of its 2 variants: control, hint")
    assert "variants" not in cli("check", "tiny.yaml", "--syntax", "--variant", "hint").out
    (tmp_path / "tiny.yaml").write_text(RECIPE.replace("terms: hint", "terms: hnt"))
    done = cli("check", "tiny.yaml", "--syntax")
    assert done.code == 2
    assert "variant hint: stages.student.terms (line 19)" in done.err
    assert cli("check", "tiny.yaml", "--syntax", "--variant", "control").code == 0


def test_check_rehearses_every_variant(cli, tmp_path):
    projector = "projector: {name: ensemble}"
    terms = f"terms: [{{loss: hint, {projector}}}]"
    (tmp_path / "tiny.yaml").write_text(RECIPE.replace("terms: hint", terms))
    assert cli("check", "tiny.yaml", "--syntax").code == 0
    done = cli("check", "tiny.yaml")
    assert done.code == 2
    assert "variant hint: projector ensemble: needs vectors" in " ".join(done.err.split())


def test_an_unknown_variant_names_the_nearest(cli, tmp_path):
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    for verb in ("run", "check", "plan"):
        done = cli(verb, "tiny.yaml", "--variant", "hnt")
        assert done.code == 2
        assert "--variant hnt: the recipe has no such variant. Did you mean 'hint'?" in done.err


def test_students_share_a_teacher(cli, tmp_path):
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    assert cli("run", "tiny.yaml", "--variant", "control", "--device", "cpu").code == 0
    done = cli("run", "tiny.yaml", "--variant", "hint", "--seed", "1", "--reuse", "runs", "--device", "cpu")
    assert done.code == 0, done.err
    assert "Taken over from runs/tiny/control/s0/teacher." in done.out
    run = tmp_path / "runs" / "tiny" / "hint" / "s1"
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [(e["kind"], e["stage"]) for e in events][:2] == [("reused", "teacher"), ("started", "student")]
    assert json.loads((run / "resolved.json").read_text())["variant"] == "hint"
    assert json.loads((run / "provenance.json").read_text())["variant"] == "hint"


def test_a_path_without_runs_is_refused(cli, tmp_path):
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    done = cli("run", "tiny.yaml", "--reuse", "nowhere")
    assert done.code == 2
    assert "nowhere does not exist" in " ".join(done.err.split())
