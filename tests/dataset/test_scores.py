"""Scores that hold images apart from labels and augmentation: recorded values, bounds, what is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.dataset.scores import (
    augmentation_robust_score,
    hard_label_recovery,
    improvement_over_random,
    label_robust_score,
)
from limbeck.errors import ConfigError, DataError


def test_scores_agree_with_the_recorded_formulas(golden):
    _, a = golden("scores")
    for full, hard, own, random, weight, hlr, _, _, lrs in a["lrs"].tolist():
        assert hard_label_recovery(full, hard) == pytest.approx(hlr)
        found = label_robust_score(
            full_hard=full, synthetic_hard=hard, synthetic=own, random=random, weight=weight
        )
        assert found == pytest.approx(lrs)
    for own, random, own_plain, random_plain, weight, _, ars in a["ars"].tolist():
        found = augmentation_robust_score(
            synthetic=own, random=random, synthetic_plain=own_plain, random_plain=random_plain, weight=weight
        )
        assert found == pytest.approx(ars)


def test_a_set_that_gains_and_loses_nothing_has_the_published_score():
    found = label_robust_score(full_hard=0.5, synthetic_hard=0.5, synthetic=0.4, random=0.4)
    assert found == pytest.approx(0.269, abs=5e-4)


fraction = st.floats(0, 1)


@given(fraction, fraction, fraction, fraction, fraction)
def test_scores_are_fractions_and_reward_gains(full, hard, own, random, weight):
    found = label_robust_score(full_hard=full, synthetic_hard=hard, synthetic=own, random=random, weight=weight)
    assert 0 <= found <= 1
    assert found <= label_robust_score(
        full_hard=full, synthetic_hard=hard, synthetic=1.0, random=random, weight=weight
    )
    with_it = augmentation_robust_score(
        synthetic=full, random=hard, synthetic_plain=own, random_plain=random, weight=weight
    )
    assert 0 <= with_it <= 1


@pytest.mark.parametrize("wrong", [46.0, -0.1, math.nan])
def test_percentages_are_refused(wrong):
    with pytest.raises(DataError, match="Divide percentages by 100"):
        hard_label_recovery(0.8, wrong)
    with pytest.raises(DataError, match="fractions"):
        improvement_over_random(wrong, 0.2)


def test_a_weight_is_a_share():
    with pytest.raises(ConfigError, match=r"weight: 2 is not between 0 and 1"):
        label_robust_score(full_hard=0.5, synthetic_hard=0.5, synthetic=0.4, random=0.4, weight=2)
