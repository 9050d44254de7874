from dataclasses import replace

import torch

from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.placebo import with_placebo
from limbeck.audit.statistics.judging import judge
from limbeck.audit.statistics.verdicts import Verdict
from limbeck.audit.tally import share


def panel_with(examined, placebos):
    panel = examined(count=20).panel
    kd = replace(panel.students[0], name="kd-s0", method="kd")
    added = tuple(replace(kd, name=f"placebo {m}-s0", role="placebo", method=f"placebo {m}") for m in placebos)
    return replace(panel, students=(kd,), placebos=added)


def evidence(panel, question="colour", kind="likeness", **values):
    numbers = {"teacher": 0.9, "kd-s0": 0.8, "control-s0": 0.4, "placebo kd-s0": 0.8} | values
    draws = torch.rand(400, generator=torch.Generator().manual_seed(0))
    names = [one.name for one in (panel if kind == "trait" else panel.learners)]
    tallies = {name: share((draws < numbers[name]).double()) for name in names}
    return Evidence(question, "same", "Keeps its prediction", kind, tallies)


def test_what_a_placebo_gains_as_well_is_not_the_teachers(examined):
    panel = panel_with(examined, ["kd"])
    plain = evidence(panel)
    assert judge([plain], panel)[0].verdict is Verdict.TRANSFERRED
    (beside,) = with_placebo(Answer((plain,)), panel).evidence
    assert beside.specificity_note == "students of a teacher without the property (placebo)"
    finding = judge([beside], panel)[0]
    assert finding.verdict is Verdict.CANNOT_TELL
    assert "Not shown to be more than with students of a teacher without the property" in finding.reason
    other = evidence(panel, **{"placebo kd-s0": 0.4})
    (beside,) = with_placebo(Answer((other,)), panel).evidence
    assert judge([beside], panel)[0].verdict is Verdict.TRANSFERRED


def test_traits_keep_the_teacher(examined):
    panel = panel_with(examined, ["kd"])
    (beside,) = with_placebo(Answer((evidence(panel, kind="trait"),)), panel).evidence
    assert set(beside.specificity) == {"kd-s0", "control-s0", "teacher"}
    assert beside.specificity["kd-s0"] is beside.tallies["placebo kd-s0"]


def test_a_placebo_of_another_method_or_of_fidelity_tells_nothing(examined):
    other = panel_with(examined, ["at"])
    answer = Answer((evidence(other, **{"placebo at-s0": 0.8}),))
    assert with_placebo(answer, other).evidence[0].specificity is None
    panel = panel_with(examined, ["kd"])
    assert with_placebo(Answer((evidence(panel, "fidelity"),)), panel).evidence[0].specificity is None
    none = replace(panel, placebos=())
    answer = Answer((evidence(none),))
    assert with_placebo(answer, none) is answer
