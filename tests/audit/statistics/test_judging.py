"""Whole audits, simulated: how often they claim what is not there, and how often they find what is."""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest
import torch

from limbeck.audit.statistics import Verdict, judge
from limbeck.audit.tally import Tally, share
from limbeck.errors import ConfigError

MEASURES = 20


def audits(panel, simulated, likeness, count, **settings):
    """Verdicts of many audits with independent measures."""
    generator = torch.Generator().manual_seed(2)
    for audit in range(count):
        evidence = [
            likeness(simulated(panel, generator, images=60, **settings), f"m{number}", margin=0.001)
            for number in range(MEASURES)
        ]
        yield judge(evidence, panel, draws=60, seed=audit)


def claims(findings):
    return sum(finding.verdict is Verdict.TRANSFERRED for finding in findings)


def test_where_nothing_was_transferred_hardly_any_audit_claims_it(panel_of, simulated, likeness):
    panel = panel_of(3, 3)
    found = list(audits(panel, simulated, likeness, 20))
    assert sum(claims(findings) > 0 for findings in found) / 20 <= 0.05
    # Each of the tests by itself is wrong now and then: the correction is what keeps the whole honest.
    alone = [finding.p < 0.05 and finding.difference > 0 for findings in found for finding in findings]
    assert 0 < sum(alone) / len(alone) < 0.05


def test_where_it_was_transferred_it_is_found(panel_of, simulated, likeness):
    panel = panel_of(3, 3)
    found = [claims(findings) for findings in audits(panel, simulated, likeness, 6, effect=0.5)]
    assert sum(found) / (6 * MEASURES) > 0.8


def test_a_trait_that_the_teacher_lacks_is_never_claimed(panel_of, simulated, likeness):
    panel, generator = panel_of(2, 2), torch.Generator().manual_seed(3)
    evidence = [
        likeness(
            simulated(panel, generator, images=60, teacher=0.5, effect=0.3), f"m{n}", kind="trait", margin=0.2
        )
        for n in range(30)
    ]
    verdicts = Counter(finding.verdict for finding in judge(evidence, panel, draws=60))
    assert verdicts == {Verdict.CANNOT_TELL: 30}


def test_the_control_judged_as_a_student_is_not_transferred(panel_of, likeness):
    values = torch.rand(100, generator=torch.Generator().manual_seed(0))
    tallies = {subject.name: share(values) for subject in panel_of().learners}
    (finding,) = judge([likeness(tallies)], panel_of(), draws=50)
    assert finding.verdict is Verdict.NOT_TRANSFERRED
    assert (finding.difference, finding.p, finding.p_corrected) == (0, 1, 1)


def test_without_controls_the_numbers_are_there_and_no_verdict(panel_of, simulated, likeness):
    panel = panel_of(2, 0)
    (finding,) = judge([likeness(simulated(panel, torch.Generator().manual_seed(0)))], panel, draws=20)
    assert finding.verdict is Verdict.CANNOT_TELL
    assert "No control" in finding.reason
    assert finding.student.mean == pytest.approx(0.5, abs=0.1)
    assert finding.to_json()["control"] == {"mean": None, "sd": None, "values": {}}


def test_the_primary_numbers_of_a_method_are_corrected_together(panel_of, simulated, likeness):
    panel = panel_of(2, 2, methods=("kd", "hint"))
    generator = torch.Generator().manual_seed(4)
    evidence = [
        likeness(simulated(panel, generator, effect=0.1), "first"),
        likeness(simulated(panel, generator, effect=0.1), "beneath", primary=False),
        likeness(simulated(panel, generator, effect=0.1), "second"),
    ]
    findings = judge(evidence, panel, draws=100)
    assert [(f.measure, f.method) for f in findings] == [
        (measure, method) for measure in ("first", "beneath", "second") for method in ("kd", "hint")
    ]
    judged = [f for f in findings if f.primary]
    for method in ("kd", "hint"):
        lowest = min((f for f in judged if f.method == method), key=lambda f: f.p)
        assert lowest.p_corrected == pytest.approx(2 * lowest.p)
    assert all(f.verdict is None and math.isnan(f.p_corrected) for f in findings if not f.primary)
    assert all(f.verdict is not None and f.reason.endswith(".") for f in judged)


def test_the_seed_decides_and_nothing_else(panel_of, simulated, likeness):
    evidence = [likeness(simulated(panel_of(), torch.Generator().manual_seed(5)))]
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, again, other = (judge(evidence, panel_of(), draws=50, seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert first == again
    assert first.low != other.low


def test_a_finding_is_plain_json(panel_of, simulated, likeness):
    panel = panel_of(1, 1)
    tallies = simulated(panel, torch.Generator().manual_seed(6), teacher=0.9)
    evidence = likeness(
        tallies, kind="trait", specificity=tallies, constants={"eps": 8 / 255, "layers": ("a", "b")}
    )
    (finding,) = judge([evidence], panel, draws=50)
    found = json.loads(json.dumps(finding.to_json(), allow_nan=False))
    assert found["verdict"] == finding.verdict.value
    assert found["error_seeds"] is None
    assert found["constants"] == {"eps": 8 / 255, "layers": ["a", "b"]}
    assert found["student"]["values"] == {"kd-s0": finding.student.mean}
    assert found["gap"]["difference"] == pytest.approx(found["teacher"] - found["control"]["mean"])
    assert found["gap"]["open"] is True
    assert found["specificity"]["beyond"]["difference"] == 0
    assert found["scope"] == "these networks"


def test_numbers_that_are_no_means_are_judged_alike(panel_of, likeness):
    generator = torch.Generator().manual_seed(7)
    groups = torch.arange(300) % 3

    def worst(accuracy):
        right = torch.rand(300, generator=generator) < accuracy
        member = torch.nn.functional.one_hot(groups, 3).double()
        columns = torch.cat([member * right[:, None], member], dim=1)
        return Tally(columns, lambda sums: (sums[..., :3] / sums[..., 3:]).amin(dim=-1))

    tallies = {f"kd-s{seed}": worst(0.9) for seed in range(3)}
    tallies |= {f"control-s{seed}": worst(0.6) for seed in range(3)} | {"teacher": worst(0.95)}
    (finding,) = judge([likeness(tallies, kind="trait")], panel_of(), draws=300)
    assert finding.verdict is Verdict.TRANSFERRED
    assert 0.5 < finding.gap_closed < 1.2


def test_mistakes_of_the_caller_are_named(panel_of, simulated, likeness):
    evidence = likeness(simulated(panel_of(), torch.Generator().manual_seed(0)))
    with pytest.raises(ConfigError, match=r"agreement\.same was given twice"):
        judge([evidence, evidence], panel_of())
    with pytest.raises(ConfigError, match="Did you mean 'holm'"):
        judge([evidence], panel_of(), correction="hollm")
    with pytest.raises(ConfigError, match="alpha"):
        judge([evidence], panel_of(), alpha=5)
