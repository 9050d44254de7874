"""The scaling law: planted curves are found, nothing is claimed beyond the points."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.dataset.scaling_law import data_equivalence, fit
from limbeck.errors import DataError

IMAGES = [1, 2, 5, 10, 20, 50, 100]


@given(st.floats(0.5, 0.9), st.floats(0.2, 0.45), st.floats(0.2, 1.0))
def test_a_planted_power_law_is_found(a, b, c):
    found = fit(IMAGES, [a - b * n**-c for n in IMAGES])
    assert found.form == "power"
    assert found.residual < 1e-5
    assert found(200) == pytest.approx(a - b * 200**-c, abs=1e-3)


@given(st.floats(0.5, 0.9), st.floats(2, 30), st.floats(0.5, 2.0))
def test_a_planted_logistic_is_found(a, n0, c):
    found = fit(IMAGES, [a / (1 + (n0 / n) ** c) for n in IMAGES])
    assert found.form == "logistic"
    assert found.residual < 1e-5
    assert found(200) == pytest.approx(a / (1 + (n0 / 200) ** c), abs=1e-3)


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


def test_the_choice_of_form_weighs_points_as_the_fit_does():
    curve = [0.8 - 0.5 * n**-0.4 for n in IMAGES]
    outlier = [*curve[:-1], curve[-1] - 0.2]
    sure = fit(IMAGES, outlier, [1e-3] * 6 + [0.5])
    assert sure.form == "power"
    assert sure(50) == pytest.approx(curve[5], abs=2e-3)


def test_accuracy_is_never_below_zero():
    found = fit(IMAGES, [max(0.0, 0.7 - 0.65 * n**-0.5) for n in IMAGES])
    assert found(1e-3) == 0
    with pytest.raises(DataError, match="above 0"):
        found(0)


@pytest.mark.parametrize(
    ("images", "accuracy", "errors", "said"),
    [
        ([1, 2, 3, 4], [0.1, 0.2, 0.3], None, "got 4, 3 and 4"),
        ([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4], [0.1], "got 4, 4 and 1"),
        ([1, 2, 3, 4], [0.1, 0.2, math.nan, 0.4], None, "fractions"),
        ([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4], [0.1, 0.1, math.nan, 0.1], "errors are finite"),
        ([1, 2, 3, 3], [0.1, 0.2, 0.3, 0.4], None, "there are 3 among 4 points"),
        ([0, 1, 2, 3], [0.1, 0.2, 0.3, 0.4], None, "above 0"),
    ],
)
def test_points_that_make_no_curve_are_refused(images, accuracy, errors, said):
    with pytest.raises(DataError, match=said):
        fit(images, accuracy, errors)


def test_the_published_label_is_worth_seven_images():
    """Random ImageNet-1K images, ResNet-18: hard and soft labels of table 1 of [qin2024label]."""
    budgets = [1, 10, 50, 100, 200]
    hard, soft = [0.006, 0.039, 0.204, 0.282, 0.378], [0.066, 0.239, 0.479, 0.534, 0.568]
    found = data_equivalence(budgets, soft, budgets, hard)
    assert found[1] == pytest.approx(7, abs=0.5)
    assert found[2:] == [math.inf] * 3


@given(st.floats(1.1, 20))
def test_a_label_worth_a_planted_number_of_images_is_found(worth):
    def curve(n: float) -> float:
        return 0.1 + 0.08 * math.log(n)

    hard_images = [2**i for i in range(12)]
    found = data_equivalence(
        [1, 5, 50], [curve(worth * n) for n in (1, 5, 50)], hard_images, [curve(n) for n in hard_images]
    )
    assert found == pytest.approx([worth] * 3, rel=1e-6)


def test_curves_of_different_lengths_are_refused():
    with pytest.raises(DataError, match="got 2 and 1 with soft labels"):
        data_equivalence([1, 2], [0.1], [1, 2], [0.1, 0.2])
