from __future__ import annotations

from limbeck.report.costs import cost_figures, cost_table
from limbeck.report.curves import curve_figures
from limbeck.report.groups import groups_of
from limbeck.runs import RunFolder


def test_trials_are_grouped_by_method_the_control_first(complete_run):
    groups = groups_of(RunFolder.open(complete_run).stage("students"))
    assert [group.label for group in groups] == ["control", "kd", "pefd", "wkd"]
    assert [folder.name for folder in groups[1].folders] == ["kd-s0", "kd-s1", "kd-s2"]


def test_curves_of_a_comparison(complete_run):
    figures = {f["title"]: f for f in curve_figures(RunFolder.open(complete_run).stage("students"))}
    assert list(figures)[:3] == ["Test accuracy", "Agreement with the teacher", "Loss, the sum of its terms"]
    assert list(figures)[-1] == "Learning rate"
    assert figures["Test accuracy"]["unit"] == "fraction"
    assert not figures["Learning rate"]["log"]
    kd = figures["Loss term kd"]["series"]
    assert [(one["label"], one["faint"]) for one in kd] == [("kd", True)] * 3 + [("kd", False)]
    mean = sum(one["y"][0] for one in kd[:3]) / 3
    assert abs(kd[3]["y"][0] - mean) < 1e-12


def test_the_sum_is_left_out_where_there_is_one_term(complete_run):
    titles = [f["title"] for f in curve_figures(RunFolder.open(complete_run).stage("teacher"))]
    assert "Loss term cross_entropy" in titles
    assert "Loss, the sum of its terms" not in titles


def test_a_stage_without_scalars_has_no_curves(tmp_path, examples):
    assert curve_figures(examples.begun(tmp_path / "run").stage("teacher")) == []


def test_costs_share_a_bar_where_they_are_alike(complete_run):
    stages = RunFolder.open(complete_run).stages()
    figures = {f["title"]: [bar["label"] for bar in f["bars"]] for f in cost_figures(stages)}
    assert figures["Parameters"] == ["teacher", "students"]
    assert figures["Training time"] == ["teacher", "control", "kd", "pefd", "wkd"]
    table = cost_table(stages)
    assert table is not None
    assert [row["label"] for row in table["rows"]] == ["teacher", "control", "kd", "pefd", "wkd"]
    assert cost_table([]) is None
