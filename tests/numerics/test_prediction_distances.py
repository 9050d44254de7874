from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from limbeck.errors import ConfigError
from limbeck.numerics.prediction_distances import (
    jensen_shannon,
    logit_cosine,
    logit_rank_correlation,
    same_prediction,
    shared_top_k,
    teacher_kl,
    variation,
)

MEASURES = (jensen_shannon, logit_cosine, logit_rank_correlation, same_prediction, teacher_kl, variation)


def drawn(n, classes, seed, scale=3.0):
    draw = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(n, classes, generator=draw) for _ in range(2))


@given(st.integers(1, 6), st.integers(2, 9), st.integers(0, 99))
def test_identities(n, classes, seed) -> None:
    student, teacher = drawn(n, classes, seed)
    for measure in MEASURES:
        value = measure(student, teacher)
        assert value.shape == (n,)
        assert value.dtype == torch.float64
        if measure is not teacher_kl:
            torch.testing.assert_close(measure(teacher, student), value)
    assert (jensen_shannon(student, teacher) <= math.log(2)).all()
    assert (variation(student, teacher) <= 1).all()
    assert (teacher_kl(student, teacher) >= 0).all()
    for measure in (jensen_shannon, teacher_kl, variation):
        torch.testing.assert_close(measure(student, student), torch.zeros(n, dtype=torch.float64))
    for measure in (logit_cosine, logit_rank_correlation, same_prediction):
        torch.testing.assert_close(measure(student, student), torch.ones(n, dtype=torch.float64))
    for k in range(1, classes + 1):
        assert (shared_top_k(student, student, k=k) == 1).all()
        torch.testing.assert_close(shared_top_k(student, teacher, k=k), shared_top_k(teacher, student, k=k))
    assert (shared_top_k(student, teacher, k=classes) == 1).all()


def test_by_loops() -> None:
    student, teacher = drawn(5, 6, 0)
    p, q = (x.double().softmax(1) for x in (teacher, student))
    for row in range(5):
        assert jensen_shannon(student, teacher)[row].item() == pytest.approx(jensenshannon(p[row], q[row]) ** 2)
        wanted = sum(a * math.log(a / b) for a, b in zip(p[row].tolist(), q[row].tolist(), strict=True))
        assert teacher_kl(student, teacher)[row].item() == pytest.approx(wanted)
        likeliest = [set(x[row].topk(3).indices.tolist()) for x in (student, teacher)]
        assert shared_top_k(student, teacher, k=3)[row].item() == pytest.approx(
            len(set.intersection(*likeliest)) / 3
        )
    softer = teacher_kl(student, teacher, temperature=4.0)
    torch.testing.assert_close(softer, teacher_kl(student / 4, teacher / 4))


def test_far_apart_and_degenerate() -> None:
    left, right = torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]])
    assert jensen_shannon(left, right).item() == pytest.approx(math.log(2))
    assert variation(left, right).item() == 1
    assert teacher_kl(left, right).item() == pytest.approx(2e4)
    assert logit_cosine(torch.ones(1, 3), torch.randn(1, 3)).isnan().all()
    assert logit_rank_correlation(torch.ones(1, 3), torch.randn(1, 3)).isnan().all()


def test_k_has_to_fit() -> None:
    for k in (0, 4):
        with pytest.raises(ConfigError, match="between 1 and the 3 classes"):
            shared_top_k(torch.zeros(2, 3), torch.zeros(2, 3), k=k)
