"""The partial distance with loops, and margins against numerical means."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.losses import ofd, ofd_margin

few = settings(max_examples=15, deadline=None, derandomize=True)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MARGIN = torch.tensor([-0.2, -0.8, -0.05], dtype=torch.float64)


def test_loops_agree() -> None:
    student, teacher = draw(2, 3, 4, 4, seed=0), draw(2, 3, 4, 4, seed=1)
    for s, t, value in zip(student, teacher, ofd(student, teacher, MARGIN), strict=True):
        total = 0.0
        for channel, m in enumerate(MARGIN.tolist()):
            for a, b in zip(s[channel].flatten().tolist(), t[channel].flatten().tolist(), strict=True):
                target = max(b, m)
                if a > target or b > 0:
                    total += (a - target) ** 2
        assert float(value) == pytest.approx(total)


@few
@given(st.integers(0, 1000))
def test_equal_maps_cost_nothing_whatever_the_margin(seed: int) -> None:
    maps = draw(2, 3, 4, 4, seed=seed)
    assert ofd(maps, maps, MARGIN).abs().max() == 0
    assert ofd(maps - 5 * (maps < 0), maps, MARGIN).abs().max() == 0  # less than silent is silent


def test_teacher_is_averaged_to_the_students_size() -> None:
    student, teacher = draw(2, 3, 2, 2, seed=0), draw(2, 3, 4, 4, seed=1)
    torch.testing.assert_close(ofd(student, teacher, MARGIN), ofd(student, F.avg_pool2d(teacher, 2), MARGIN))
    larger = draw(2, 3, 8, 8, seed=2)
    repeated = teacher.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(ofd(larger, teacher, MARGIN), ofd(larger, repeated, MARGIN))


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (1.5, 0.7), (-2.0, 0.5), (-40.0, 1.0), (3.0, -1.0)])
def test_margin_is_the_mean_below_zero(mean: float, deviation: float) -> None:
    grid = torch.linspace(mean - 12 * abs(deviation), min(0.0, mean + 12 * abs(deviation)), 200_001).double()
    density = torch.exp(-0.5 * ((grid - mean) / deviation) ** 2)
    wanted = float((grid * density).sum() / density.sum())
    margin = ofd_margin(*(torch.tensor([x], dtype=torch.float64) for x in (deviation, mean)))
    assert float(margin) == pytest.approx(wanted, rel=1e-3)


def test_channels_that_are_hardly_ever_negative_and_constant_channels() -> None:
    weight, bias = torch.tensor([1.0, 2.0, 0.0, 0.0, 0.0]), torch.tensor([3.2, 9.0, 0.4, -0.3, 0.0])
    assert ofd_margin(weight, bias).tolist() == pytest.approx([-3.0, -6.0, 0.0, -0.3, 0.0])
    probability = 0.5 * math.erfc(3.2 / math.sqrt(2))
    assert probability < 0.001
    assert (
        ofd_margin(torch.ones(1, dtype=torch.float16), torch.ones(1, dtype=torch.float16)).dtype == torch.float32
    )


def test_margins_of_other_channels_are_refused() -> None:
    maps = draw(2, 3, 4, 4, seed=0)
    with pytest.raises(ShapeError, match=r"margin has shape \(2,\).*3 channels"):
        ofd(maps, maps, MARGIN[:2])
    with pytest.raises(ShapeError, match=r"weight \(3,\), bias \(2,\)"):
        ofd_margin(MARGIN, MARGIN[:2])
