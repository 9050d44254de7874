from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import InputError
from limbeck.flow.kernels import sigma_of, time_of_sigma, vp_sigma, vp_time
from limbeck.flow.path import data_of, noise_of, point, require_times, velocity_to_data, velocity_to_noise


@given(st.floats(0.01, 0.99), st.integers(0, 5))
def test_every_prediction_says_the_same(t, seed):
    drawn = torch.Generator().manual_seed(seed)
    x, z = torch.randn(2, 3, 1, 4, 4, generator=drawn, dtype=torch.float64)
    times = torch.full((3,), t, dtype=torch.float64)
    here, v = point(x, z, times), z - x
    assert torch.allclose(data_of(here, v, times), x)
    assert torch.allclose(noise_of(here, v, times), z)
    assert torch.allclose(velocity_to_data(here, x, times), v)
    assert torch.allclose(velocity_to_noise(here, z, times), v)


def test_the_ends_are_data_and_noise():
    x, z = torch.randn(2, 4, 1, 2, 2)
    assert torch.equal(point(x, z, torch.zeros(4)), x)
    assert torch.equal(point(x, z, torch.ones(4)), z)


@given(st.floats(1e-4, 0.9999))
def test_changes_of_time_come_back(t):
    time = torch.tensor(t, dtype=torch.float64)
    assert float(time_of_sigma(sigma_of(time))) == pytest.approx(t, rel=1e-10)
    assert float(time_of_sigma(vp_sigma(vp_time(time)))) == pytest.approx(t, rel=1e-7)


@pytest.mark.parametrize("bad", [-0.01, 1.01, float("nan")])
def test_times_outside_are_refused(bad):
    with pytest.raises(InputError, match="times run from 0"):
        require_times(torch.tensor([0.5, bad]))
