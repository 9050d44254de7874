"""The frontier: nothing on it is beaten, chance is allowed for, bands hold what was measured."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.dataset.pareto import Point, band, dominates, frontier
from limbeck.errors import ConfigError, DataError

points = st.builds(
    Point,
    costs=st.tuples(st.integers(1, 5), st.integers(0, 3)),
    accuracy=st.floats(0, 1),
    error=st.floats(0, 0.1),
)


@given(st.lists(points, min_size=1, max_size=12), st.sampled_from([0.0, 1.0]))
def test_nothing_on_the_frontier_is_dominated_and_everything_off_it_is(some, z):
    kept = frontier(some, z=z)
    for p in some:
        beaten = any(dominates(q, p, z=z) for q in some if q is not p)
        assert (p in kept) != beaten or sum(q == p for q in some) > 1


def test_a_difference_within_chance_keeps_both():
    cheap, dear = Point((1,), 0.50, 0.02), Point((1,), 0.51, 0.02)
    assert frontier([cheap, dear]) == [cheap, dear]
    assert frontier([cheap, dear], z=0) == [dear]
    assert frontier([Point((2,), 0.5), Point((1,), 0.5)]) == [Point((1,), 0.5)]


def test_some_choice_is_always_left_and_more_chance_leaves_more():
    some = [Point((n,), a, 0.02) for n, a in ((1, 0.30), (2, 0.29), (2, 0.33), (3, 0.34), (4, 0.28))]
    sizes = [len(frontier(some, z=z)) for z in (0.0, 1.0, 3.0)]
    assert sizes == sorted(sizes)
    assert sizes[0] >= 1


def test_choices_that_cannot_be_compared_are_named():
    with pytest.raises(DataError, match="'soft' has numbers that are not finite"):
        frontier([Point((1,), 0.5), Point((2,), math.nan, name="soft")])
    with pytest.raises(DataError, match="compared by the same costs"):
        frontier([Point((1,), 0.5, name="one"), Point((2, 3), 0.4, name="two")])
    with pytest.raises(ConfigError, match="at least 0"):
        frontier([Point((1,), 0.5)], z=-1)


seeds = st.lists(st.floats(0, 1), min_size=1, max_size=4)


@given(st.lists(st.tuples(st.integers(1, 4), seeds), min_size=1, max_size=6))
def test_a_band_rises_with_the_budget_and_stays_within_what_was_measured(choices):
    costs, accuracies = [c for c, _ in choices], [a for _, a in choices]
    found = band(costs, accuracies, draws=50)
    assert [b.cost for b in found] == sorted(set(costs))
    for values in ([b.low for b in found], [b.accuracy for b in found], [b.high for b in found]):
        assert values == sorted(values)
    for b in found:
        mine = [sum(a) / len(a) for c, a in choices if c <= b.cost]
        assert b.accuracy == pytest.approx(max(mine))
        everything = [v for c, a in choices if c <= b.cost for v in a]
        assert min(everything) - 1e-9 <= b.low <= b.high <= max(everything) + 1e-9


def test_a_band_is_as_wide_as_the_seeds_differ_and_repeats():
    narrow, wide = (band([1], [[0.5 - d, 0.5, 0.5 + d]])[0] for d in (0.01, 0.1))
    assert narrow.low < narrow.accuracy < narrow.high
    assert wide.high - wide.low == pytest.approx(10 * (narrow.high - narrow.low))
    assert band([1], [[0.5]])[0].low == band([1], [[0.5]])[0].high == 0.5
    assert band([1, 2], [[0.1, 0.3], [0.2, 0.5]], seed=4) == band([1, 2], [[0.1, 0.3], [0.2, 0.5]], seed=4)


@pytest.mark.parametrize(
    ("costs", "accuracies", "said"),
    [([], [], "each choice has"), ([1], [[]], "each choice has"), ([1], [[math.nan]], "finite numbers")],
)
def test_bands_of_nothing_are_refused(costs, accuracies, said):
    with pytest.raises(DataError, match=said):
        band(costs, accuracies)
    with pytest.raises(ConfigError, match="level is between 0 and 1"):
        band([1], [[0.5]], level=1.0)
