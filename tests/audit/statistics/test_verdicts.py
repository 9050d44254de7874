"""Which verdict follows from which numbers, and in which words."""

from __future__ import annotations

import pytest
import torch

from limbeck.audit.evidence import Evidence
from limbeck.audit.statistics.differences import Comparison
from limbeck.audit.statistics.estimates import Estimate, Part
from limbeck.audit.statistics.verdicts import Verdict, decide
from limbeck.audit.tally import Tally

NOTHING = Tally(torch.zeros(1, 2))


def estimate(value, half_width, *, images=1e-4, seeds=1e-6):
    return Estimate(
        value, value - half_width, value + half_width, 0.01, 0.95, Part(images, 999), (Part(seeds, 2),)
    )


def evidence(kind="likeness", unit="fraction", **settings):
    return Evidence("colour", "agreement", "Same answer", kind, {"kd-s0": NOTHING}, unit=unit, **settings)


def comparison(difference, **settings):
    return Comparison(difference, {f"kd-s{seed}": difference.value for seed in range(3)}, images=1000, **settings)


def test_without_a_control_nothing_is_said():
    found = Comparison(Estimate(float("nan"), reason="no control was given"))
    assert decide(evidence(), found, 0.0) == (
        Verdict.CANNOT_TELL,
        "No control student was given, so nothing can be said about transfer.",
    )


def test_what_is_undefined_is_not_judged():
    verdict, reason = decide(evidence(), comparison(Estimate(float("nan"), reason="undefined for kd-s1")), 0.0)
    assert (verdict, reason) == (Verdict.CANNOT_TELL, "There is no interval to judge by: undefined for kd-s1.")


@pytest.mark.parametrize("gap", [estimate(0.015, 0.001), estimate(0.1, 0.2), estimate(-0.015, 0.001)])
def test_a_teacher_without_the_trait_teaches_nothing(gap):
    found = comparison(estimate(0.3, 0.01), gap=gap, gap_closed=1.0)
    verdict, reason = decide(evidence("trait"), found, 0.0001)
    assert verdict is Verdict.CANNOT_TELL
    assert reason.startswith("The teacher has nothing of it that the controls lack: it differs by")


@pytest.mark.parametrize("gap", [0.2, -0.2])
def test_a_trait_moves_on_either_side(gap):
    found = comparison(estimate(0.1, 0.03), gap=estimate(gap, 0.05), gap_closed=0.5)
    assert decide(evidence("trait"), found, 0.0012) == (
        Verdict.TRANSFERRED,
        "The students moved 10.0 points towards the teacher, 50 % of the gap "
        "(95 % interval 7 to 13, corrected p = 0.0012).",
    )


def test_a_small_effect_is_excluded_even_where_it_is_certain():
    verdict, reason = decide(evidence(margin=0.02), comparison(estimate(0.01, 0.005)), 1e-6)
    assert verdict is Verdict.NOT_TRANSFERRED
    assert reason == (
        "An effect of 2.0 points is excluded: the difference is +1.0 points (95 % interval 0.5 to 1.5)."
    )


def test_moving_away_is_no_transfer():
    verdict, reason = decide(evidence(), comparison(estimate(-0.1, 0.05)), 1e-6)
    assert verdict is Verdict.NOT_TRANSFERRED
    assert reason == "The students moved away from the teacher by 10.0 points (95 % interval −15 to −5)."


def test_a_difference_beyond_chance_is_a_transfer():
    verdict, reason = decide(evidence(unit="nats"), comparison(estimate(0.12, 0.03)), 1e-6)
    assert verdict is Verdict.TRANSFERRED
    assert reason == (
        "The students are more like the teacher than the controls by 0.12 nats "
        "(95 % interval 0.09 to 0.15, corrected p < 0.0001)."
    )


def test_one_student_speaks_for_itself():
    found = Comparison(estimate(0.12, 0.03), {"kd-s0": 0.12}, images=1000)
    verdict, reason = decide(evidence(), found, 1e-6)
    assert verdict is Verdict.TRANSFERRED
    assert reason.startswith("The student is more like the teacher")
    assert reason.endswith("other seeds of the method were not tried.")


def test_what_shows_without_the_property_is_not_of_it():
    settings = {"specificity": {"kd-s0": NOTHING}, "specificity_note": "an attack on a foreign network"}
    found = comparison(estimate(0.12, 0.03), specific=estimate(0.1, 0.03), beyond=estimate(0.02, 0.03))
    assert decide(evidence(**settings), found, 1e-6) == (
        Verdict.CANNOT_TELL,
        "Not shown to be more than with an attack on a foreign network: +10.0 points there, +12.0 points here "
        "(difference 95 % interval −1 to 5).",
    )
    specific = comparison(estimate(0.12, 0.03), specific=estimate(0.01, 0.03), beyond=estimate(0.11, 0.03))
    assert decide(evidence(**settings), specific, 1e-6)[0] is Verdict.TRANSFERRED
    lost = Estimate(float("nan"), reason="undefined for kd-s0")
    verdict, reason = decide(
        evidence(**settings), comparison(estimate(0.12, 0.03), specific=lost, beyond=lost), 1e-6
    )
    assert verdict is Verdict.CANNOT_TELL
    assert reason.endswith("could not be computed with an attack on a foreign network: undefined for kd-s0.")


def test_a_wide_interval_asks_for_images():
    # 1.962 x 0.03 = 5.9 points; for 2 points some 8.7 times the images.
    found = comparison(estimate(0.01, 0.0589, images=9e-4, seeds=0.0))
    verdict, reason = decide(evidence(), found, 0.7)
    assert verdict is Verdict.CANNOT_TELL
    assert reason.startswith("The interval holds both no effect and one of 2.0 points: +1.0 points")
    assert reason.endswith("about 9,000 images would tell, 1,000 were counted.")


def test_a_wide_interval_asks_for_seeds_where_they_are_what_differs():
    # Variance 1e-4 over 3 seeds: with 6, t = 2.57 and 0.0071 give 1.8 points.
    found = comparison(estimate(0.01, 0.043, images=1e-7, seeds=1e-4))
    assert decide(evidence(), found, 0.5)[1].endswith("more seeds would tell, about 6.")
    hopeless = comparison(estimate(0.01, 4.3, images=1e-7, seeds=1.0))
    assert decide(evidence(), hopeless, 0.9)[1].endswith("far more seeds would be needed.")


def test_an_interval_above_zero_may_fall_to_the_correction():
    verdict, reason = decide(evidence(), comparison(estimate(0.03, 0.029)), 0.31, tests=20)
    assert verdict is Verdict.CANNOT_TELL
    assert reason.startswith("The difference of +3.0 points (95 % interval 0.1 to 5.9) does not stand out")
    assert "among 20 tests (corrected p = 0.31)" in reason


def test_no_margin_and_no_spread_are_no_trouble():
    assert decide(evidence(margin=0.0), comparison(estimate(0.01, 0.02)), 0.4)[0] is Verdict.CANNOT_TELL
    same = Estimate(0.0, 0.0, 0.0, 1.0, 0.95, Part(0.0, 99))
    assert decide(evidence(), comparison(same), 1.0)[0] is Verdict.NOT_TRANSFERRED
    assert decide(evidence(margin=0.0), comparison(same), 1.0)[0] is Verdict.CANNOT_TELL
