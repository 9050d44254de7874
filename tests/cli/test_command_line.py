"""The command line as a process: verbs, flags, exit codes, what goes to which stream."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

FLAGS = {
    "run": {
        *(
            "--out",
            "--variant",
            "--set",
            "--smoke",
            "--seed",
            "--fresh",
            "--reuse",
            "--device",
            "--plugin",
            "--quiet",
        )
    },
    "check": {"--syntax", "--variant", "--set", "--smoke", "--plugin"},
    "plan": {"--variant", "--set", "--smoke", "--device", "--plugin"},
    "list": set(),
    "show": {"--taps", "--input", "--classes"},
    "report": {"--out"},
    "audit": {
        "--teacher",
        "--student",
        "--control",
        "--data",
        "--split",
        "--images",
        "--ask",
        "--domain",
        "--foreign",
        "--placebo",
        "--precision",
        "--fail-on",
        "--seed",
        "--out",
        "--fresh",
        "--device",
        "--plugin",
        "--quiet",
    },
    "table": {"--format", "--out", "--any"},
    "export": {
        "--out",
        "--format",
        "--normalise",
        "--precision",
        "--opset",
        "--licence",
        "--push",
        "--private",
        "--force",
        "--plugin",
        "--evaluations",
        "--times",
        "--size",
    },
    "cite": set(),
    "doctor": set(),
    "demo": {"--out", "--fresh", "--device"},
}


def limbeck(*arguments, cwd=None, **environment):
    import os

    return subprocess.run(
        [sys.executable, "-m", "limbeck", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", **environment},
    )


def test_the_verbs_are_pinned():
    done = limbeck("--help")
    assert done.returncode == 0
    assert re.findall(r"^  ([a-z]+)  ", done.stdout.partition("Commands:")[2], flags=re.MULTILINE) == list(FLAGS)


@pytest.mark.parametrize("verb", FLAGS)
def test_the_flags_are_pinned(verb):
    done = limbeck(verb, "--help")
    assert done.returncode == 0
    assert set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", done.stdout, flags=re.MULTILINE)) == FLAGS[verb] | {
        "--help"
    }


def test_the_version():
    from limbeck import __version__

    assert limbeck("--version").stdout.strip() == f"limbeck {__version__}"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "demo/digts"], "Did you mean 'demo/digits'?"),
        (["run", "nope.yaml"], "no such file"),
        (["check", "--syntax", "demo/digits", "--set", "teacher.epochs"], "has to read stage.key=value"),
        (["check", "--syntax", "demo/digits", "--plugin", "nowhere.py"], "no such file"),
        (["list", "lossez"], "Did you mean 'losses'?"),
        (["show", "kdd"], "Did you mean 'kd'?"),
        (["show", "resnet8", "--taps", "--input", "3x32"], "channels,height,width"),
        (["report", "nowhere"], "does not exist"),
        (["cite", "nowhere"], "no such file"),
        (["audit", "--teacher", "nowhere", "--student", "nowhere", "--data", "digits"], "there is no model at"),
        (["export", "nowhere", "--out", "x", "--format", "onix"], "Did you mean 'onnx'?"),
    ],
)
def test_wrong_input_is_one_message_without_a_trace(arguments, expected):
    done = limbeck(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["lst"],
        ["run"],
        ["audit"],
        ["audit", "--teacher", "x"],
        ["run", "demo/digits", "--smok"],
        ["run", "demo/digits", "--out"],
    ],
)
def test_wrong_usage_leaves_with_two_and_flags_are_not_abbreviated(arguments):
    done = limbeck(*arguments)
    assert done.returncode == 2
    assert "unexpected" not in done.stderr


def test_a_recipe_with_mistakes_reports_all_of_them(tmp_path):
    (tmp_path / "my.yaml").write_text("stages:\n  t: {kind: classify.train, model: resnet9, epoch: 1}\n")
    done = limbeck("check", "--syntax", "my.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "my.yaml has 3 problems" in done.stderr
    assert done.stderr.count("line 2") == 3


def test_the_trace_of_a_known_error_is_shown_on_demand():
    assert "Traceback" in limbeck("show", "kdd", LIMBECK_DEBUG="1").stderr


def test_lists_and_descriptions_name_what_there_is():
    assert "wkd_transport" in limbeck("list", "losses").stdout
    shown = limbeck("show", "kd").stdout
    for part in ("temperature", "4.0", "student, teacher", "hinton2015distilling"):
        assert part in shown
    assert "label_smoothing" in limbeck("show", "classify.train").stdout
    assert "wkd_target" in limbeck("show", "wkd").stdout


def test_output_that_is_piped_has_no_colour():
    assert "\x1b[" not in limbeck("list").stdout
    assert "\x1b[" not in limbeck("show", "kdd").stderr


def test_citations_are_bibtex():
    shown = limbeck("cite", "demo/digits").stdout
    assert shown.count("@") >= 3
    assert "hinton2015distilling" in shown


def test_a_reader_that_leaves_early_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m limbeck list | head -n 1", shell=True, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert "limbeck:" not in done.stderr


def test_taps_of_a_model_are_listed_with_shapes():
    done = limbeck("show", "resnet8", "--taps", "--input", "1,8,8", "--classes", "5")
    assert done.returncode == 0, done.stderr
    assert "layer3" in done.stdout
    assert re.search(r"fc +Linear +5", done.stdout)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two tiny stages, and what was printed."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.yaml").write_text(
        "title: Tiny\nstages:\n"
        "  teacher: {kind: classify.train, source: {name: digits, per_class: 3}, model: resnet8,\n"
        "    train: {steps: 2}}\n"
        "  student:\n    kind: classify.distill\n    teacher: teacher\n    source: {name: digits, per_class: 3}\n"
        "    model: resnet8\n    weak_teacher: true\n    terms: kd\n    train: {steps: 2}\n"
    )
    return folder, limbeck("run", "tiny.yaml", "--out", "out", "--device", "cpu", cwd=folder)


def test_a_run_says_what_came_of_it(finished):
    folder, done = finished
    assert done.returncode == 0, done.stderr
    for part in ("teacher:", "student:", "out/report.html", "limbeck.load(", "limbeck export"):
        assert part in done.stdout
    assert (folder / "out" / "report.html").is_file()
    assert json.loads((folder / "out" / "provenance.json").read_text())["command"][:2] == ["limbeck", "run"]


def test_running_again_skips_and_a_change_is_refused(finished):
    folder, _ = finished
    again = limbeck("run", "tiny.yaml", "--out", "out", "--device", "cpu", cwd=folder)
    assert again.returncode == 0, again.stderr
    changed = limbeck("run", "tiny.yaml", "--out", "out", "--set", "student.train.steps=3", cwd=folder)
    assert changed.returncode == 2
    for part in ("student.train.steps: 2 -> 3", "--fresh student", "--out"):
        assert part in changed.stderr


def test_a_model_is_taken_out(finished):
    folder, _ = finished
    done = limbeck("export", "out/student", "--out", "student.safetensors", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "student.safetensors").is_file()
    refused = limbeck("export", "out/student", "--out", "timm", "--format", "timm", cwd=folder)
    assert refused.returncode == 2
    assert "state-dict" in refused.stderr
    assert not (folder / "timm").exists()


def test_a_recipe_is_planned_without_writing(finished):
    folder, _ = finished
    before = set(folder.iterdir())
    done = limbeck("plan", "tiny.yaml", "--device", "cpu", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "FLOPs a step" in done.stdout
    assert set(folder.iterdir()) == before


def test_a_run_is_cited_and_reported_again(finished):
    folder, _ = finished
    assert "hinton2015distilling" in limbeck("cite", "out", cwd=folder).stdout
    assert limbeck("report", "out", "--out", "page.html", cwd=folder).returncode == 0
    assert (folder / "page.html").read_text().lstrip().lower().startswith("<!doctype html>")
