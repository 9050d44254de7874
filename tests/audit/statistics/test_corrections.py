"""Corrected p-values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.audit.statistics.corrections import CORRECTIONS, benjamini_hochberg, holm

P_VALUES = st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=12)


def test_holm_by_hand():
    # 0.01 x 4, 0.02 x 3, 0.03 x 2 (raised to the one before), 0.5 x 1.
    assert holm([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.06, 0.06])


def test_benjamini_and_hochberg_by_hand():
    # 0.01 x 4/1, 0.02 x 4/2, 0.03 x 4/3 (all 0.04), 0.5 x 4/4.
    assert benjamini_hochberg([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.04, 0.04])


@pytest.mark.parametrize("name", sorted(CORRECTIONS))
@given(p_values=P_VALUES)
def test_corrections_raise_keep_the_order_and_leave_gaps(name, p_values):
    corrected = CORRECTIONS[name](p_values)
    assert [math.isnan(p) for p in corrected] == [math.isnan(p) for p in p_values]
    pairs = sorted((p, q) for p, q in zip(p_values, corrected, strict=True) if not math.isnan(p))
    assert all(p <= q * (1 + 1e-12) and q <= 1 for p, q in pairs)
    assert all(pairs[i][1] <= pairs[i + 1][1] * (1 + 1e-12) for i in range(len(pairs) - 1))


@given(P_VALUES)
def test_holm_is_the_stricter_one_and_what_is_no_test_does_not_count(p_values):
    strict, mild = holm(p_values), benjamini_hochberg(p_values)
    assert all(p >= q - 1e-12 for p, q in zip(strict, mild, strict=True) if not math.isnan(p))
    tested = [p for p in p_values if not math.isnan(p)]
    assert [p for p in strict if not math.isnan(p)] == holm(tested)
