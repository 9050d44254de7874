"""NST: the discrepancy with loops, both ways it is computed, what it ignores."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.losses import nst

few = settings(max_examples=25, deadline=None, derandomize=True)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(seed: int, student: int = 3, teacher: int = 5, size: int = 3) -> tuple[Tensor, Tensor]:
    return draw(2, student, size, size, seed=seed), draw(2, teacher, size, size, seed=seed + 1)


pairs = st.builds(pair, st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3))


def patterns(maps: Tensor) -> list[list[float]]:
    rows = [channel.flatten().tolist() for channel in maps]
    return [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in rows]


def kernel(a: list[list[float]], b: list[list[float]]) -> float:
    """Mean of squared products of all pairs."""
    total = sum(sum(x * y for x, y in zip(p, q, strict=True)) ** 2 for p in a for q in b)
    return total / (len(a) * len(b))


# More positions than channels, fewer, and between the two.
@pytest.mark.parametrize(("student", "teacher", "size"), [(3, 5, 4), (6, 7, 2), (3, 9, 2), (9, 3, 2), (4, 4, 2)])
def test_loops_agree(student: int, teacher: int, size: int) -> None:
    own, taught = pair(0, student, teacher, size)
    for s, t, value in zip(own, taught, nst(own, taught), strict=True):
        a, b = patterns(s), patterns(t)
        wanted = kernel(b, b) + kernel(a, a) - 2 * kernel(a, b)
        assert value.item() == pytest.approx(wanted, rel=1e-9)


@few
@given(pairs, st.integers(0, 1000))
def test_order_sign_and_scale_of_channels_do_not_matter(maps: tuple[Tensor, Tensor], seed: int) -> None:
    student, teacher = maps
    value = nst(student, teacher)
    order = torch.randperm(student.shape[1], generator=torch.Generator().manual_seed(seed))
    scale = draw(student.shape[1], 1, 1, seed=seed).abs() + 0.1
    torch.testing.assert_close(nst(-scale * student[:, order], teacher), value, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(nst(torch.cat((student, student), dim=1), teacher), value, rtol=1e-9, atol=1e-12)


@few
@given(pairs, st.integers(0, 1000))
def test_positions_moved_in_both_maps_alike_do_not_matter(maps: tuple[Tensor, Tensor], seed: int) -> None:
    order = torch.randperm(maps[0][0, 0].numel(), generator=torch.Generator().manual_seed(seed))
    moved = [x.flatten(2)[:, :, order].reshape(x.shape) for x in maps]
    torch.testing.assert_close(nst(*moved), nst(*maps), rtol=1e-9, atol=1e-12)


@few
@given(pairs)
def test_symmetric_and_between_zero_and_two(maps: tuple[Tensor, Tensor]) -> None:
    values = nst(*maps)
    torch.testing.assert_close(nst(*maps[::-1]), values, rtol=1e-9, atol=1e-12)
    assert (values > -1e-12).all()
    assert (values <= 2 + 1e-12).all()


def test_patterns_that_never_meet_give_two() -> None:
    here, there = torch.zeros(1, 3, 2, 2), torch.zeros(1, 8, 2, 2)
    here[..., 0, 0], there[..., 1, 1] = 2.0, 3.0
    torch.testing.assert_close(nst(here, there), torch.tensor([2.0]))


def test_a_batch_twice_has_each_value_twice() -> None:
    maps = pair(1)
    torch.testing.assert_close(nst(*(torch.cat((x, x)) for x in maps)), nst(*maps).repeat(2))


def test_larger_map_is_averaged_to_the_smaller() -> None:
    small, large = draw(2, 3, 4, 4, seed=0), draw(2, 5, 8, 8, seed=1)
    torch.testing.assert_close(nst(small, large), nst(small, F.avg_pool2d(large, 2)))
    torch.testing.assert_close(nst(large, small), nst(F.avg_pool2d(large, 2), small))


@pytest.mark.parametrize("channels", [2, 40])
def test_a_map_of_zeros_has_finite_value_and_gradient(channels: int) -> None:
    student = torch.zeros(2, channels, 4, 4, requires_grad=True)
    values = nst(student, torch.rand(2, channels, 4, 4))
    values.sum().backward()
    assert values.isfinite().all()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_what_cannot_be_is_refused() -> None:
    student, teacher = pair(2)
    with pytest.raises(ShapeError, match=r"nst: expected two maps.*\(2, 27\).*\(2, 5, 3, 3\)"):
        nst(student.flatten(1), teacher)
    with pytest.raises(ShapeError, match=r"same samples.*\(1, 3, 3, 3\)"):
        nst(student[:1], teacher)
