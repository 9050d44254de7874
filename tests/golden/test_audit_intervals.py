"""Intervals of shares against recorded values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from limbeck.audit.statistics.intervals import wilson

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "audit"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the recorded values are not on this machine")


def test_the_interval_of_a_fooling_rate_is_the_recorded_one():
    case = np.load(GOLDEN / "fooling_rate.npz")
    fooled = case["teacher_clean"] != case["teacher_adv"]
    followed = fooled & (case["student_clean"] != case["student_adv"])
    assert fooled.sum() == case["n_successful"]
    np.testing.assert_allclose(followed.sum() / fooled.sum(), case["student_fooling_on_successful"], rtol=1e-12)
    np.testing.assert_allclose(wilson(int(followed.sum()), int(fooled.sum())), case["wilson95"], rtol=1e-6)


def test_the_interval_of_a_win_rate_is_the_recorded_one():
    case = np.load(GOLDEN / "cam_similarity.npz")
    valid = case["valid"]
    wins = valid & (case["cos1"] > case["cos2"])
    np.testing.assert_allclose(wins.sum() / valid.sum(), case["win_rate"], rtol=1e-12)
    np.testing.assert_allclose(wilson(int(wins.sum()), int(valid.sum())), case["wilson95"], rtol=1e-6)
