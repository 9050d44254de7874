from __future__ import annotations

import torch
from torch.nn import functional as F

from limbeck.numerics.divergence import softened_kl, softmax_without

DRAW = torch.Generator().manual_seed(0)
LOGITS = torch.randn(4, 5, generator=DRAW, dtype=torch.float64)


def test_softmax_without_a_class_is_that_of_the_others() -> None:
    left_out = torch.tensor([0, 4, 2, 2])
    masked = softmax_without(LOGITS, left_out, temperature=2.0)
    for row, y, probabilities in zip(LOGITS, left_out.tolist(), masked, strict=True):
        keep = [k for k in range(5) if k != y]
        assert probabilities[y] == 0
        torch.testing.assert_close(probabilities[keep], F.softmax(row[keep] / 2, 0))


def test_divergence_over_the_last_dimension() -> None:
    other = torch.randn(4, 5, generator=DRAW, dtype=torch.float64)
    stacked = softened_kl(LOGITS.reshape(2, 2, 5), other.reshape(2, 2, 5))
    torch.testing.assert_close(stacked.flatten(), softened_kl(LOGITS, other))
    assert (stacked > 0).all()
