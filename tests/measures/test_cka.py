from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.measures import hsic_unbiased, linear_cka, linear_cka_unbiased, rbf_cka, rbf_cka_unbiased

DRAW = torch.Generator().manual_seed(0)
BIASED = (linear_cka, rbf_cka)
UNBIASED = (linear_cka_unbiased, rbf_cka_unbiased)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(8, 24), st.integers(1, 30), st.integers(1, 30), st.integers(0, 99))
@settings(max_examples=40)
def test_identities(n, width, other, seed) -> None:
    x, y = drawn(n, width, seed=seed), drawn(n, other, seed=seed + 1000)
    turn = torch.linalg.qr(drawn(width, width, seed=seed + 2000)).Q
    for measure in (*BIASED, *UNBIASED):
        value = measure(x, y)
        assert measure(y, x) == pytest.approx(value, abs=1e-9, nan_ok=True)
        assert measure(x, x) == pytest.approx(1)
        assert measure(x, x @ turn * 5 + 2) == pytest.approx(1)
        assert measure(x @ turn * 0.01 - 3, y) == pytest.approx(value, abs=1e-6, nan_ok=True)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        assert measure(x[order], y[order]) == pytest.approx(value, abs=1e-9, nan_ok=True)
    for measure in BIASED:
        assert -1e-12 <= measure(x, y) <= 1 + 1e-9


def test_not_the_same_for_features_scaled_apart() -> None:
    x = drawn(50, 2)
    assert linear_cka(x, x * torch.tensor([1.0, 20.0])) < 0.95


@pytest.mark.parametrize("n", [9, 40])
def test_both_forms_are_one_number(n) -> None:
    """Features padded with zeros are the same features, but wide enough for the other form."""
    x, y = drawn(n, 6), drawn(n, 4, seed=1)
    x[:, :4] += y
    wide = torch.cat([x, torch.zeros(n, 50, dtype=torch.float64)], dim=1)
    for measure in (linear_cka, linear_cka_unbiased, hsic_unbiased):
        assert measure(wide, y) == pytest.approx(measure(x, y), rel=1e-10)


def test_wide_strangers() -> None:
    values = []
    for seed in range(4):
        x, y = drawn(100, 5000, seed=seed), drawn(100, 5000, seed=seed + 50)
        assert linear_cka(x, y) == pytest.approx(0.98, abs=0.002)
        values.append(linear_cka_unbiased(x, y))
    assert max(map(abs, values)) < 0.05
    assert sum(values) / 4 == pytest.approx(0, abs=0.02)


def test_no_bias_on_average() -> None:
    values = [hsic_unbiased(drawn(6, 3, seed=s), drawn(6, 3, seed=s + 500)) for s in range(400)]
    error = torch.tensor(values).std() / 20
    assert abs(sum(values) / 400) < 4 * error


def test_of_half_precision_and_far_from_zero() -> None:
    x, y = drawn(40, 8), drawn(40, 5, seed=1)
    x[:, :5] += y
    wanted = linear_cka(x, y)
    assert linear_cka(1e5 + x, y) == pytest.approx(wanted, rel=1e-8)
    assert linear_cka(x.bfloat16(), y.bfloat16()) == pytest.approx(wanted, rel=0.02)
    assert linear_cka(x.view(40, 2, 2, 2), y) == wanted


def test_what_cannot_be_told() -> None:
    x, still = drawn(8, 3), torch.full((8, 3), 0.1)
    for measure in (*BIASED, *UNBIASED):
        assert math.isnan(measure(x, still))
        assert math.isnan(measure(still, still))
    alternating = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    assert hsic_unbiased(alternating, alternating) > 0
    spikes = torch.eye(4)
    assert hsic_unbiased(spikes, spikes) == pytest.approx(0, abs=1e-12)


def test_errors() -> None:
    x = drawn(8, 3)
    for measure in (*BIASED, *UNBIASED, hsic_unbiased):
        with pytest.raises(ShapeError, match=f"{measure.__name__}: the rows of both sides"):
            measure(x, x[:7])
        with pytest.raises(DataError, match=f"{measure.__name__}: y: 3 of the 3 features"):
            measure(x, x / 0)
        with pytest.raises(DataError, match=f"{measure.__name__}: x: needs at least"):
            measure(x[:1], x[:1])
    for measure in UNBIASED:
        with pytest.raises(DataError, match="at least 4 images"):
            measure(x[:3], x[:3])
    for measure in (rbf_cka, rbf_cka_unbiased):
        with pytest.raises(ConfigError, match="width must be above 0"):
            measure(x, x, width=0.0)
