import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.audit.questions.calibration import calibration, ece_tally


def test_the_same_network_is_as_sure_of_itself(examined, room):
    answer = calibration(examined())
    room.checked(answer)
    by_name = {one.measure: one for one in answer.evidence}
    assert by_name["confidence"].tallies["same-s0"].value == 0.0
    assert by_name["confidence"].tallies["other-s0"].value > 0.1
    assert by_name["ece"].tallies["other-s0"].value > by_name["ece"].tallies["teacher"].value
    assert {series["label"] for series in answer.figures["reliability"]["series"]} == {
        *("teacher", "control", "same", "other", "calibrated")
    }


def test_calibration_errors_that_are_known():
    sure = torch.tensor([[1.0, 0.0]] * 4).double()
    assert ece_tally(sure, torch.zeros(4, dtype=torch.int64), bins=15).value == 0.0
    assert ece_tally(sure, torch.ones(4, dtype=torch.int64), bins=15).value == 1.0
    # As sure as right: 75 % in one bin, three of four right.
    as_right = torch.tensor([[0.75, 0.25]] * 4).double()
    assert ece_tally(as_right, torch.tensor([0, 0, 0, 1]), bins=10).value == pytest.approx(0.0, abs=1e-12)


@given(st.integers(1, 40), st.integers(0, 10**6))
def test_with_one_bin_it_is_the_gap_of_the_means(bins, seed):
    draws = torch.Generator().manual_seed(seed)
    p = torch.rand(30, 3, generator=draws, dtype=torch.float64).softmax(dim=1)
    labels = torch.randint(3, (30,), generator=draws)
    right = (p.argmax(dim=1) == labels).double()
    whole = abs(float((right - p.amax(dim=1)).mean()))
    assert ece_tally(p, labels, bins=1).value == pytest.approx(whole, abs=1e-12)
    assert ece_tally(p, labels, bins=bins).value >= whole - 1e-12  # finer bins can only find more


def test_a_network_that_is_wrong_with_certainty_has_a_finite_likelihood(examined):
    exam = examined(count=40)
    for one in exam.panel:
        one.network.model.fc.weight.mul_(1e4)
    nll = next(one for one in calibration(exam).evidence if one.measure == "nll")
    assert all(tally.value < float("inf") for tally in nll.tallies.values())
