from __future__ import annotations

import math

import pytest
import torch

from limbeck.errors import ConfigError
from limbeck.losses import kd


def test_known_value() -> None:
    student, teacher = torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]])
    wanted = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    torch.testing.assert_close(kd(student, teacher, temperature=1.0), torch.tensor([wanted]))


def test_loops_agree() -> None:
    draw = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(4, 6, generator=draw, dtype=torch.float64) for _ in range(2))
    for s, t, value in zip(student, teacher, kd(student, teacher, temperature=3.0), strict=True):
        p = [math.exp(x / 3) for x in t.tolist()]
        q = [math.exp(x / 3) for x in s.tolist()]
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        wanted = 9 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        assert value.item() == pytest.approx(wanted, rel=1e-12)


def test_gradient_keeps_its_size_at_high_temperature() -> None:
    draw = torch.Generator().manual_seed(0)
    teacher = torch.randn(4, 6, generator=draw, dtype=torch.float64)
    sizes = []
    for temperature in (50.0, 100.0):
        student = torch.zeros(4, 6, dtype=torch.float64, requires_grad=True)
        kd(student, teacher, temperature=temperature).sum().backward()
        assert student.grad is not None
        sizes.append(student.grad.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(ConfigError, match="kd: temperature must be above 0"):
        kd(torch.zeros(1, 2), torch.zeros(1, 2), temperature=temperature)
