"""ICKD: correlations of channels with loops, what they ignore, behind a projector."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.losses import ConnectorProjector, ickd

few = settings(max_examples=25, deadline=None, derandomize=True)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(seed: int, channels: int = 4) -> tuple[Tensor, Tensor]:
    return draw(2, channels, 3, 3, seed=seed), draw(2, channels, 4, 2, seed=seed + 1)


pairs = st.builds(pair, st.integers(0, 10_000), st.integers(1, 6))


def correlations(maps: Tensor) -> list[list[float]]:
    channels = [channel.flatten().tolist() for channel in maps]
    table = [[sum(x * y for x, y in zip(a, b, strict=True)) for b in channels] for a in channels]
    return [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in table]


def test_loops_agree_for_maps_of_different_size() -> None:
    student, teacher = pair(0)
    for s, t, value in zip(student, teacher, ickd(student, teacher), strict=True):
        a, b = correlations(s), correlations(t)
        wanted = sum((a[k][m] - b[k][m]) ** 2 for k in range(4) for m in range(4)) / 4
        assert value.item() == pytest.approx(wanted, rel=1e-12)


@few
@given(pairs, st.integers(0, 1000), st.floats(0.1, 10))
def test_positions_may_be_moved_mixed_and_scaled(maps: tuple[Tensor, Tensor], seed: int, scale: float) -> None:
    """Any rotation of the positions keeps the products of channels."""
    student, teacher = maps
    turn, _ = torch.linalg.qr(draw(9, 9, seed=seed))
    turned = (scale * student.flatten(2) @ turn).reshape(student.shape)
    torch.testing.assert_close(ickd(turned, teacher), ickd(student, teacher), rtol=1e-9, atol=1e-12)


@few
@given(pairs, st.integers(0, 1000))
def test_order_of_channels_matters_unless_both_follow(maps: tuple[Tensor, Tensor], seed: int) -> None:
    student, teacher = maps
    order = torch.randperm(student.shape[1], generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(ickd(student[:, order], teacher[:, order]), ickd(student, teacher))


def test_order_of_channels_of_one_side_counts() -> None:
    maps = draw(1, 4, 3, 3, seed=0)
    assert ickd(maps[:, [1, 0, 2, 3]], maps) > 1e-2


@few
@given(pairs)
def test_at_most_four(maps: tuple[Tensor, Tensor]) -> None:
    values = ickd(*maps)
    assert (values >= 0).all()
    assert (values <= 4 + 1e-12).all()


def test_one_channel_flipped_gives_a_known_value() -> None:
    """Two uncorrelated channels and one copied: rows (1, 0) against (1, 1) / root 2."""
    apart = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).reshape(1, 2, 1, 2)
    alike = torch.ones(1, 2, 1, 2)
    root = math.sqrt(0.5)
    torch.testing.assert_close(ickd(apart, alike), torch.tensor([(1 - root) ** 2 + root**2]))


def test_a_batch_twice_has_each_value_twice_behind_a_projector_too() -> None:
    student, teacher = draw(3, 2, 4, 4, seed=0), draw(3, 5, 4, 4, seed=1)
    torch.manual_seed(0)
    projector = ConnectorProjector(student_shape=(2, 4, 4), teacher_shape=(5, 4, 4)).double().train()
    once = ickd(projector(student), teacher)
    twice = ickd(projector(torch.cat((student, student))), torch.cat((teacher, teacher)))
    torch.testing.assert_close(twice, once.repeat(2))
    once.sum().backward()
    assert all(weight.grad is not None for weight in projector.parameters())


def test_maps_of_zeros_stay_finite() -> None:
    student = torch.zeros(2, 3, 4, 4, requires_grad=True)
    values = ickd(student, torch.rand(2, 3, 4, 4))
    values.sum().backward()
    torch.testing.assert_close(values.detach(), torch.ones(2))
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_what_cannot_be_is_refused() -> None:
    student, teacher = pair(2)
    with pytest.raises(ShapeError, match=r"ickd: expected two maps.*\(2, 3, 3, 3\).*\(2, 4, 4, 2\).*projector"):
        ickd(student[:, :3], teacher)
    with pytest.raises(ShapeError, match="ickd: expected two maps"):
        ickd(student.flatten(1), teacher.flatten(1))
