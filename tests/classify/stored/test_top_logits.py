"""Some logits and one value for the rest: a distribution, exact where it was kept."""

from __future__ import annotations

import math

import pytest
import torch

from limbeck.classify.stored.top_logits import compressed, expanded


@pytest.fixture
def logits():
    return torch.randn(7, 12, generator=torch.Generator().manual_seed(0)) * 4


@pytest.mark.parametrize("top", [1, 4, 11])
def test_what_comes_back_is_a_distribution_and_exact_where_it_was_kept(logits, top):
    values, classes, rest = compressed(logits, top)
    whole = expanded(values, classes, rest, 12)
    truth, found = logits.double().softmax(1), whole.double().softmax(1)
    assert torch.allclose(found.sum(1), torch.ones(7, dtype=torch.float64))
    assert torch.equal(whole.gather(1, classes), logits.gather(1, classes))
    assert torch.allclose(found.gather(1, classes), truth.gather(1, classes), rtol=1e-6)
    assert torch.equal(whole.argmax(1), logits.argmax(1))


def test_absent_classes_share_what_is_left_evenly(logits):
    values, classes, rest = compressed(logits, 3)
    found = expanded(values, classes, rest, 12).double().softmax(1)
    for row in range(7):
        kept = set(classes[row].tolist())
        left = 1 - sum(math.exp(z) for z in values[row].double().log_softmax(0).tolist()) * sum(
            logits[row].double().softmax(0)[c].item() for c in kept
        )
        for c in set(range(12)) - kept:
            assert found[row, c].item() == pytest.approx(left / 9, rel=1e-5)


def test_a_certain_teacher_leaves_something_finite_for_the_rest():
    logits = torch.tensor([[500.0, 0.0, -1.0, -2.0]])  # 1 minus the largest probability would be exactly zero
    _, _, rest = compressed(logits, 1)
    assert rest.item() == pytest.approx(math.log((1 + math.exp(-1) + math.exp(-2)) / 3), rel=1e-6)


def test_softer_targets_give_absent_classes_no_less_than_the_teacher_did(logits):
    values, classes, rest = compressed(logits, 3)
    whole = expanded(values, classes, rest, 12)
    for temperature in (2.0, 4.0):
        truth = (logits.double() / temperature).softmax(1).gather(1, classes).sum(1)
        found = (whole.double() / temperature).softmax(1).gather(1, classes).sum(1)
        assert bool((found <= truth + 1e-6).all())
