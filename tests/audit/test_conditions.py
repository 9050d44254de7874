"""Conditions on which an audit fails."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.audit.conditions import Condition, check, parse, quantities_of, verdicts_of
from limbeck.audit.findings import Finding, Spread
from limbeck.audit.statistics import Verdict
from limbeck.errors import ConfigError

QUANTITIES = {
    "worst_group_drop": {"kd": 0.07, "wkd.v2": 0.02},
    "bias.gap": {"kd": 0.01, "wkd.v2": math.nan},
}
VERDICTS = {"bias.gap": {"kd": Verdict.TRANSFERRED, "wkd.v2": Verdict.NOT_TRANSFERRED}}


def broken(text, quantities=QUANTITIES, verdicts=VERDICTS):
    return [(found.method, found.value) for found in check([parse(text)], quantities, verdicts)]


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("worst_group_drop>0.05", Condition("worst_group_drop", ">", 0.05)),
        ("  worst_group_drop  >=  5 % ", Condition("worst_group_drop", ">=", 0.05)),
        ("kd.a<-1e-3", Condition("kd.a", "<", -0.001)),
        ("a!=.5", Condition("a", "!=", 0.5)),
        ("bias.gap==transferred", Condition("bias.gap", "==", Verdict.TRANSFERRED)),
        ("'shape_bias=transferred'", Condition("shape_bias", "==", Verdict.TRANSFERRED)),
        ("shape_bias != 'not transferred'", Condition("shape_bias", "!=", Verdict.NOT_TRANSFERRED)),
        ("shape_bias==Cannot_Tell", Condition("shape_bias", "==", Verdict.CANNOT_TELL)),
    ],
)
def test_conditions_are_read(text, condition):
    assert parse(text.replace("5 %", "5%")) == condition


@given(
    st.text("abkz_09.-", min_size=1, max_size=12),
    st.sampled_from([">", ">=", "<", "<=", "==", "!="]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([None, *Verdict]),
)
def test_what_is_written_is_read_back(name, sign, number, verdict):
    value = number if verdict is None or sign not in ("==", "!=") else verdict
    assert parse(str(Condition(name, sign, value))) == Condition(name, sign, value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("worst_group_drop", "a condition is a name"),
        (">0.5", "a condition is a name"),
        ("a>", "a condition is a name"),
        ("a>b>c", "a condition is a name"),
        ("a=>0.5", "a condition is a name"),
        ("a>much", "'much' is neither a number"),
        ("a>nan", "neither a number"),
        ("a==transfered", "Did you mean 'transferred'"),
        ("a>transferred", "no order"),
    ],
)
def test_what_is_no_condition_is_refused(text, words):
    with pytest.raises(ConfigError, match=words):
        parse(text)


def test_one_method_is_enough_to_fail():
    assert broken("worst_group_drop>0.05") == [("kd", 0.07)]
    assert broken("worst_group_drop>1%") == [("kd", 0.07), ("wkd.v2", 0.02)]
    assert broken("worst_group_drop>0.5") == []
    assert broken("worst_group_drop==7%") == [("kd", 0.07)]
    assert broken("worst_group_drop!=7%") == [("wkd.v2", 0.02)]


def test_a_method_in_front_asks_for_it_alone():
    assert broken("wkd.v2.worst_group_drop>1%") == [("wkd.v2", 0.02)]
    assert broken("kd.bias.gap>0") == [("kd", 0.01)]
    assert broken("wkd.v2.bias.gap==transferred") == []


def test_verdicts_can_be_asked_for():
    assert broken("bias.gap==transferred") == [("kd", Verdict.TRANSFERRED)]
    assert broken("bias.gap!=transferred") == [("wkd.v2", Verdict.NOT_TRANSFERRED)]


def test_a_broken_condition_says_what_it_found():
    (found,) = check([parse("worst_group_drop>5%")], QUANTITIES)
    assert str(found) == "worst_group_drop>0.05 holds for kd: worst_group_drop is 0.07"
    (found,) = check([parse("bias.gap==transferred")], QUANTITIES, VERDICTS)
    assert str(found) == "bias.gap=='transferred' holds for kd: bias.gap is transferred"


def test_what_cannot_be_checked_does_not_pass():
    with pytest.raises(ConfigError, match=r"bias\.gap could not be computed for wkd\.v2"):
        broken("bias.gap>0.5")
    with pytest.raises(ConfigError, match="could not be computed for kd"):
        broken("drop>0.5", {"drop": {"kd": None}})
    with pytest.raises(ConfigError, match="could not be computed for any method"):
        broken("drop>0.5", {"drop": {}})


def test_unknown_names_come_with_what_can_be_asked():
    with pytest.raises(ConfigError, match=r"Did you mean 'worst_group_drop'\? .*bias\.gap, worst_group_drop \(or"):
        broken("worst_group_dorp>0.5")
    with pytest.raises(ConfigError, match=r"Did you mean 'kd\.worst_group_drop'"):
        broken("kd.worst_grup_drop>0.5")
    with pytest.raises(ConfigError, match="no finding with a verdict is named 'worst_group_drop'"):
        broken("worst_group_drop==transferred")


def finding(**settings):
    values = Spread({"kd-s0": 0.4, "kd-s1": 0.6})
    plain = dict.fromkeys(("teacher", "low", "high", "p", "p_corrected", "gap_closed"), math.nan)
    plain |= dict.fromkeys(("error_images", "error_seeds"), math.nan)
    made = Finding(
        question="shape_bias",
        measure="shape",
        title="",
        unit="fraction",
        kind="trait",
        method="kd",
        primary=True,
        control=values,
        student=values,
        difference=0.1,
        confidence=0.95,
        images=9,
        seeds=2,
        per_seed={},
        matched=True,
        gap=None,
        specificity=None,
        verdict=Verdict.TRANSFERRED,
        reason="",
        scope="the method",
        margin=0.02,
        **plain,
    )
    return replace(made, **settings)


def test_findings_can_be_asked_by_name():
    found = [
        finding(),
        finding(method="hint", difference=0.3),
        finding(measure="all", primary=False, verdict=None),
    ]
    numbers, verdicts = quantities_of(found), verdicts_of(found)
    assert numbers["shape_bias.shape"] == {"kd": 0.1, "hint": 0.3}
    assert numbers["shape_bias.shape.student"] == {"kd": 0.5, "hint": 0.5}
    assert math.isnan(numbers["shape_bias.shape.gap_closed"]["kd"])
    assert verdicts["shape_bias"] == verdicts["shape_bias.shape"]
    assert "shape_bias.all" not in verdicts
    assert len(check([parse("shape_bias=transferred")], numbers, verdicts)) == 2
    two = verdicts_of([*found, finding(measure="other")])
    assert "shape_bias" not in two
