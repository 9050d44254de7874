"""Attention transfer: the formula with loops, what a map may do without changing it, sizes and channels."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import ConfigError, ShapeError
from limbeck.losses import at

few = settings(max_examples=25, deadline=None, derandomize=True)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(seed: int) -> tuple[Tensor, Tensor]:
    return draw(3, 2, 4, 5, seed=seed), draw(3, 6, 4, 5, seed=seed + 1)


pairs = st.builds(pair, st.integers(0, 10_000))


def attention(maps: Tensor, power: float) -> list[float]:
    channels, height, width = maps.shape
    found = [
        sum(abs(float(maps[c, i, j])) ** power for c in range(channels)) / channels
        for i in range(height)
        for j in range(width)
    ]
    length = math.sqrt(sum(x * x for x in found))
    return [x / length for x in found]


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
def test_loops_agree(power: float) -> None:
    student, teacher = pair(0)
    for s, t, value in zip(student, teacher, at(student, teacher, power=power), strict=True):
        gaps = [(a - b) ** 2 for a, b in zip(attention(s, power), attention(t, power), strict=True)]
        assert value.item() == pytest.approx(sum(gaps) / len(gaps), rel=1e-10)


@few
@given(pairs, st.floats(0.01, 100), st.sampled_from([1.0, 2.0, 3.0]))
def test_scale_sign_and_order_of_channels_do_not_matter(
    maps: tuple[Tensor, Tensor], scale: float, power: float
) -> None:
    student, teacher = maps
    value = at(student, teacher, power=power)
    torch.testing.assert_close(at(scale * student, teacher, power=power), value)
    torch.testing.assert_close(at(-student.flip(1), scale * teacher, power=power), value)
    torch.testing.assert_close(at(torch.cat((student, student), dim=1), teacher, power=power), value)


@few
@given(pairs)
def test_at_most_two_over_the_number_of_positions(maps: tuple[Tensor, Tensor]) -> None:
    values = at(*maps)
    assert (values >= 0).all()
    assert (values <= 2 / 20).all()


def test_attention_apart_gives_the_largest_value() -> None:
    here, there = torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 4, 4)
    here[..., 0, 0], there[..., 3, 3] = 5.0, 0.1
    torch.testing.assert_close(at(here, there), torch.tensor([2 / 16]))


def test_a_batch_twice_has_each_value_twice() -> None:
    maps = pair(1)
    torch.testing.assert_close(at(*(torch.cat((x, x)) for x in maps)), at(*maps).repeat(2))


def test_larger_map_is_averaged_to_the_smaller() -> None:
    small, large = draw(2, 3, 4, 4, seed=0), draw(2, 5, 8, 8, seed=1)
    torch.testing.assert_close(at(small, large), at(small, F.avg_pool2d(large, 2)))
    torch.testing.assert_close(at(large, small), at(F.avg_pool2d(large, 2), small))
    tall, wide = draw(2, 3, 8, 4, seed=2), draw(2, 3, 4, 8, seed=3)
    torch.testing.assert_close(at(tall, wide), at(F.avg_pool2d(tall, (2, 1)), F.avg_pool2d(wide, (1, 2))))


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_a_map_of_zeros_has_finite_value_and_gradient(power: float) -> None:
    student = torch.zeros(2, 3, 4, 4, requires_grad=True)
    values = at(student, torch.rand(2, 5, 4, 4), power=power)
    values.sum().backward()
    assert values.isfinite().all()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_what_cannot_be_is_refused() -> None:
    student, teacher = pair(2)
    with pytest.raises(ShapeError, match=r"at: expected two maps.*\(3, 40\).*\(3, 6, 4, 5\)"):
        at(student.flatten(1), teacher)
    with pytest.raises(ShapeError, match=r"same samples.*\(2, 2, 4, 5\)"):
        at(student[:2], teacher)
    for power in (0.0, 0.9, float("nan")):
        with pytest.raises(ConfigError, match="at: power must be 1 or more"):
            at(student, teacher, power=power)
