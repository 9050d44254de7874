"""Channel-wise distillation: loops and invariance."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.losses.detection import cwd, cwd_loss


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT = [draw(2, 3, 4, 5, seed=0), draw(2, 2, 2, 2, seed=1)]
TEACHER = [draw(2, 3, 4, 5, seed=2), draw(2, 2, 2, 2, seed=3)]


def softmax(values: list[float], temperature: float) -> list[float]:
    powers = [math.exp(v / temperature) for v in values]
    return [p / sum(powers) for p in powers]


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_loop_over_images_and_channels(temperature: float) -> None:
    wanted = 0.0
    for own, taught in zip(STUDENT, TEACHER, strict=True):
        pairs = [(own[n, c], taught[n, c]) for n in range(2) for c in range(own.shape[1])]
        for s, t in pairs:
            q, p = (softmax(x.flatten().tolist(), temperature) for x in (s, t))
            divergence = sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))
            wanted += temperature**2 * divergence / len(pairs)
    assert float(cwd_loss(STUDENT, TEACHER, temperature=temperature)) == pytest.approx(wanted)


def test_a_constant_added_to_a_channel_changes_nothing() -> None:
    value = cwd_loss(STUDENT, TEACHER)
    moved = [x + 7 * draw(2, x.shape[1], 1, 1, seed=4) for x in STUDENT]
    torch.testing.assert_close(cwd_loss(moved, TEACHER), value)
    assert not torch.allclose(cwd_loss([2 * x for x in STUDENT], TEACHER), value)


def test_weight_and_temperature() -> None:
    shapes = [tuple(x.shape[1:]) for x in STUDENT]
    loss = cwd(student_shapes=shapes, teacher_shapes=shapes, temperature=2.0)
    torch.testing.assert_close(loss(STUDENT, TEACHER), 10 * cwd_loss(STUDENT, TEACHER, temperature=2.0))
    with pytest.raises(ConfigError, match="temperature"):
        cwd(student_shapes=shapes, teacher_shapes=shapes, temperature=0.0)
