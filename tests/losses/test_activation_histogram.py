from __future__ import annotations

import ot
import pytest
import torch
from torch.nn import functional as F

from limbeck.losses import channel_histogram_kl, histogram_kl, sorted_w2

DRAW = torch.Generator().manual_seed(0)
STUDENT, TEACHER = (torch.randn(2, 3, 2, 4, generator=DRAW, dtype=torch.float64) for _ in range(2))


def test_histograms_by_loops() -> None:
    for s, t, by_channel, by_pixel in zip(
        STUDENT,
        TEACHER,
        histogram_kl(STUDENT, TEACHER, temperature=2.0),
        channel_histogram_kl(STUDENT, TEACHER, temperature=2.0),
        strict=True,
    ):
        s, t = s.flatten(1) / 2, t.flatten(1) / 2
        for value, x, y in ((by_channel, s, t), (by_pixel, s.T, t.T)):
            rows = [
                F.kl_div(F.log_softmax(a, 0), F.softmax(b, 0), reduction="sum") for a, b in zip(x, y, strict=True)
            ]
            torch.testing.assert_close(value, sum(rows) / len(rows))


def test_sorting_solves_transport_in_one_dimension() -> None:
    for s, t, value in zip(STUDENT, TEACHER, sorted_w2(STUDENT, TEACHER), strict=True):
        exact = [
            ot.emd2_1d(a.numpy(), b.numpy(), metric="sqeuclidean")
            for a, b in zip(s.flatten(1), t.flatten(1), strict=True)
        ]
        assert value.item() == pytest.approx(float(sum(exact)))
