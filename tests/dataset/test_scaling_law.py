"""The scaling law and the frontier: planted curves are found, nothing is claimed beyond the points."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.dataset.pareto import Point, dominates, frontier
from limbeck.dataset.scaling_law import data_equivalence, fit
from limbeck.errors import DataError

IMAGES = [1, 2, 5, 10, 20, 50, 100]


@given(st.floats(0.5, 0.9), st.floats(0.2, 0.45), st.floats(0.2, 1.0))
def test_a_planted_power_law_is_found(a, b, c):
    found = fit(IMAGES, [a - b * n**-c for n in IMAGES])
    assert found.residual < 2e-3
    assert found(200) == pytest.approx(a - b * 200**-c, abs=0.02)


@given(st.floats(0.5, 0.9), st.floats(2, 30), st.floats(0.5, 2.0))
def test_a_planted_logistic_is_found(a, n0, c):
    found = fit(IMAGES, [a / (1 + (n0 / n) ** c) for n in IMAGES])
    assert found.residual < 5e-3


def test_little_is_not_made_into_much():
    with pytest.raises(DataError, match="at least 4 different numbers"):
        fit([1, 2, 3], [0.1, 0.2, 0.3])
    with pytest.raises(DataError, match="fractions"):
        fit([1, 2, 3, 4], [10, 20, 30, 40])
    with pytest.raises(DataError, match=r"fitted up to 100 images per class; 401 is more than 4 times"):
        fit(IMAGES, [0.7 - 0.4 * n**-0.5 for n in IMAGES])(401)


def test_a_label_is_worth_the_images_that_hard_labels_would_need():
    hard = [0.1 + 0.1 * math.log2(n) for n in (1, 2, 4, 8, 16)]
    found = data_equivalence([1, 2, 16], [hard[2], hard[3], 0.9], [1, 2, 4, 8, 16], hard)
    assert found[0] == pytest.approx(4)
    assert found[1] == pytest.approx(4)
    assert found[2] == math.inf
    assert math.isnan(data_equivalence([1], [0.05], [1, 2], [0.1, 0.2])[0])
    with pytest.raises(DataError, match="does not rise"):
        data_equivalence([1], [0.1], [1, 2], [0.2, 0.1])


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
