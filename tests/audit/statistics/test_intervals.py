"""Intervals of shares."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.audit.statistics.intervals import needed, wilson
from limbeck.errors import ConfigError


@given(st.integers(1, 500), st.data())
def test_wilsons_interval_solves_the_equation_it_comes_from(n, data):
    successes = data.draw(st.integers(0, n))
    z = 1.959963984540054
    for end in wilson(successes, n):
        spread = math.sqrt(end * (1 - end) / n)
        assert abs(successes / n - end) == pytest.approx(z * spread, abs=1e-6)


@given(st.integers(1, 300), st.data())
def test_the_interval_of_the_failures_mirrors_that_of_the_successes(n, data):
    successes = data.draw(st.integers(0, n))
    low, high = wilson(successes, n)
    assert (1 - high, 1 - low) == pytest.approx(wilson(n - successes, n), abs=1e-12)
    assert 0 <= low <= successes / n <= high <= 1


@given(st.floats(0.005, 0.4), st.sampled_from([0.9, 0.95, 0.99]))
def test_so_many_images_are_needed_and_no_fewer(precision, confidence):
    def widest(n):
        low, high = wilson(n // 2, n, confidence)
        return (high - low) / 2

    n = needed(precision, confidence)
    assert widest(n) <= precision * (1 + 1e-9)
    # One share of an odd number of images is not one half, so two fewer are compared.
    assert n <= 2 or widest(2 * ((n - 1) // 2)) > precision * (1 - 2 / n)


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2), (0, 0)])
def test_a_share_that_is_none_is_refused(successes, n):
    with pytest.raises(ConfigError, match="0 <= successes <= n"):
        wilson(successes, n)


def test_a_precision_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="above 0"):
        needed(0)
