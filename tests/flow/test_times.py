from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.flow import times
from limbeck.flow._registry import TIMES

QUANTILES = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000


@pytest.mark.parametrize("name", list(TIMES))
def test_times_lie_inside_and_rise(name):
    found = TIMES[name](QUANTILES)
    assert found.min() >= 1e-5 - 1e-12
    assert found.max() <= 1 - 1e-5 + 1e-12
    assert (found.diff() >= 0).all()


@given(st.floats(0.0, 1.0), st.floats(0.01, 12.0))
def test_u_shaped_inverts_its_distribution(quantile, a):
    t = float(times.u_shaped(torch.tensor(quantile, dtype=torch.float64), a=a))
    u = (t - 1e-5) / (1 - 2e-5)
    assert 0.5 + math.sinh(a * (u - 0.5)) / (2 * math.sinh(a / 2)) == pytest.approx(quantile, abs=1e-12)


def test_u_shaped_has_the_moments_of_the_page():
    for a in (1.0, 2.0, 4.0, 8.0):
        found = times.u_shaped(QUANTILES, a=a)
        assert float(found.mean()) == pytest.approx(0.5, abs=1e-6)
        wanted = 0.25 - 1 / (a * math.tanh(a / 2)) + 2 / a**2
        assert float(found.var(correction=0)) == pytest.approx(wanted, abs=2e-5)


@pytest.mark.parametrize("a", [1e-6, -1e-6, 0.0])
def test_a_flat_u_is_uniform(a):
    assert torch.equal(times.u_shaped(QUANTILES, a=a), times.uniform(QUANTILES))


def test_both_halves_of_the_u_are_alike():
    found = times.u_shaped(QUANTILES)
    assert torch.allclose(found, 1 - found.flip(0), atol=1e-9)


def test_exponential_has_its_density():
    found = times.exponential(QUANTILES, base=10.0)
    assert float((found < 0.5).double().mean()) == pytest.approx((math.sqrt(10) - 1) / 9, abs=1e-3)
    assert torch.equal(times.exponential(QUANTILES, base=1.0), times.uniform(QUANTILES))


def test_logit_normal_has_its_median():
    found = times.logit_normal(QUANTILES, mean=-1.0, std=0.5)
    assert float(found.median()) == pytest.approx(1 / (1 + math.e), abs=1e-3)


def test_the_times_of_a_sampler():
    found = times.steps_of(QUANTILES, k=4).unique()
    assert torch.allclose(found, torch.tensor([0.25, 0.5, 0.75, 1.0], dtype=torch.float64), atol=2e-5)
    assert float(times.at(torch.zeros(1), t=0.5)) == pytest.approx(0.5)
