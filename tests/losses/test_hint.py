from __future__ import annotations

import torch

from limbeck.losses import hint


def test_loops_agree() -> None:
    draw = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(2, 3, 2, 2, generator=draw, dtype=torch.float64) for _ in range(2))
    for s, t, value in zip(student, teacher, hint(student, teacher), strict=True):
        differences = [(a - b) ** 2 for a, b in zip(s.flatten().tolist(), t.flatten().tolist(), strict=True)]
        torch.testing.assert_close(value.item(), sum(differences) / len(differences))
