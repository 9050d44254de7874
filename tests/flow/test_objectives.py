from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import ConfigError, ShapeError
from limbeck.flow.objectives import Chord, huber, l2, perceptual, perceptual_huber, rms
from limbeck.losses.feature_distance import feature_distance
from limbeck.losses.pseudo_huber import knee_of, pseudo_huber, root_squared_error

D = 12


def chord(t=0.5, n=3):
    drawn = torch.Generator().manual_seed(0)
    x, z = torch.randn(2, n, 3, 2, 2, generator=drawn, dtype=torch.float64)
    return Chord(x, z, torch.full((n,), t, dtype=torch.float64))


@pytest.mark.parametrize("objective", [l2, rms, huber])
def test_the_right_velocity_costs_nothing(objective):
    given_ = chord()
    right = given_.velocity.clone().requires_grad_()
    found = objective(given_, right)
    assert found.shape == (3,)
    assert (found == 0).all()
    found.sum().backward()
    assert right.grad.isfinite().all()


@given(st.floats(1e-6, 1e-4))
def test_small_errors_are_squared(size):
    c = knee_of((D,))
    found = pseudo_huber(torch.full((1, D), size, dtype=torch.float64), torch.zeros(1, D, dtype=torch.float64))
    assert float(found) == pytest.approx(size**2 * D / (2 * c * D), rel=1e-3)


@given(st.floats(1e3, 1e6))
def test_large_errors_are_lengths(size):
    found = pseudo_huber(torch.full((1, D), size, dtype=torch.float64), torch.zeros(1, D, dtype=torch.float64))
    assert float(found) == pytest.approx(size * D**0.5 / D, rel=1e-3)


def test_the_gradient_of_huber_is_short():
    error = (10 * torch.randn(50, D, dtype=torch.float64)).requires_grad_()
    pseudo_huber(error, torch.zeros_like(error)).sum().backward()
    assert float(error.grad.norm(dim=1).max()) <= 1 / D


def test_code_and_paper_differ_by_the_number_of_values():
    given_ = chord()
    v = torch.zeros_like(given_.x)
    torch.testing.assert_close(huber(given_, v, source="paper"), huber(given_, v) * D)


def test_knee_is_that_of_the_page():
    assert knee_of((3, 32, 32)) == pytest.approx(1.659, abs=1e-3)
    assert knee_of((3, 64, 64)) == pytest.approx(6.636, abs=1e-3)


def test_root_has_a_slope_at_zero():
    x = torch.zeros(2, 3, requires_grad=True)
    root_squared_error(x, torch.zeros(2, 3)).sum().backward()
    assert (x.grad == 0).all()


@pytest.mark.parametrize("t", [0.1, 0.9])
def test_weights_in_time_are_not_reversed(t):
    """t = 1 is noise here: Huber fades towards it, and 1/t is large near the data."""
    given_ = chord(t)
    v = torch.zeros_like(given_.x)
    seen = perceptual(given_, v, lambda a, b: torch.ones(len(a), dtype=a.dtype), weighting="1/t")
    torch.testing.assert_close(seen, torch.full_like(seen, 1 / t))
    none = perceptual_huber(given_, v, lambda a, b: torch.zeros(len(a), dtype=a.dtype))
    torch.testing.assert_close(none, (1 - t) * huber(given_, v))


def test_perceptual_gradient_fades_like_t():
    lengths = []
    for t in (0.01, 0.1):
        given_ = chord(t)
        v = torch.zeros_like(given_.x).requires_grad_()
        perceptual(given_, v, lambda a, b: (a - b).flatten(1).sum(1)).sum().backward()
        lengths.append(float(v.grad.norm()))
    assert lengths[1] / lengths[0] == pytest.approx(10)


def test_no_distance_is_said():
    with pytest.raises(ConfigError, match="distance:"):
        perceptual(chord(), torch.zeros_like(chord().x))


def test_feature_distance_ignores_length():
    maps = [torch.rand(2, 4, 3, 3) + 0.1]
    assert float(feature_distance(maps, [5 * maps[0]]).max()) < 1e-9
    with pytest.raises(ShapeError, match="layers"):
        feature_distance(maps, maps * 2)
    with pytest.raises(ShapeError, match="channels"):
        feature_distance(maps, maps, weights=[torch.ones(3)])
