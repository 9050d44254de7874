from __future__ import annotations

import pytest
import torch

from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.losses import cross_entropy, noisy_labels
from limbeck.recipes.schema import load_recipe

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 3, 1, 2, 2, 0])
INDEX = torch.tensor([5, 0, 17, 3, 900, 1])


def soft_labels(labels: torch.Tensor, classes: int, index: torch.Tensor, **settings: float) -> torch.Tensor:
    """The soft labels themselves: the gradient by the logits is softmax less label."""
    logits = torch.zeros(len(labels), classes, dtype=torch.float64, requires_grad=True)
    noisy_labels(logits, labels, index, **settings).sum().backward()
    assert logits.grad is not None
    return 1 / classes - logits.grad


def test_without_noise_the_label_is_softened_by_the_temperature() -> None:
    one_hot = torch.nn.functional.one_hot(LABELS, 4).double()
    for temperature in (0.15, 1.0):
        soft = (one_hot / temperature).softmax(1)
        wanted = cross_entropy(LOGITS, soft)
        torch.testing.assert_close(
            noisy_labels(LOGITS, LABELS, INDEX, variance=0.0, temperature=temperature), wanted
        )


def test_the_noise_has_the_variance_that_was_asked_for() -> None:
    index = torch.arange(20_000)
    labels = index % 3
    found = soft_labels(labels, 3, index, variance=0.2, temperature=0.15)
    raw = found.log() * 0.15  # label and noise, up to one number for each sample
    one_hot = torch.nn.functional.one_hot(labels, 3).double()
    differences = (raw - one_hot).diff(dim=1)
    assert differences.mean(0).tolist() == pytest.approx([0, 0], abs=0.02)
    assert differences.var(0).tolist() == pytest.approx([0.4, 0.4], rel=0.03)
    # The label stays the likeliest class while its noise is not a whole one below that of another.
    assert 0.8 < (found.argmax(1) == labels).double().mean() < 0.95


def test_a_sample_keeps_its_label_in_any_batch() -> None:
    whole = soft_labels(LABELS, 4, INDEX)
    order = torch.tensor([3, 5, 0])
    torch.testing.assert_close(soft_labels(LABELS[order], 4, INDEX[order]), whole[order])
    assert (soft_labels(LABELS, 4, INDEX, seed=1) - whole).abs().max() > 0.01
    twins = soft_labels(torch.tensor([1, 1]), 4, torch.tensor([6, 7]))
    assert (twins[0] - twins[1]).abs().max() > 0.01


def test_one_hot_and_mixed_labels() -> None:
    one_hot = torch.nn.functional.one_hot(LABELS, 4).double()
    torch.testing.assert_close(noisy_labels(LOGITS, one_hot, INDEX), noisy_labels(LOGITS, LABELS, INDEX))
    assert noisy_labels(LOGITS, (one_hot + one_hot.flip(0)) / 2, INDEX).isfinite().all()


def test_what_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"shape \(6,\); got \(5,\)"):
        noisy_labels(LOGITS, LABELS, INDEX[:5])
    with pytest.raises(DataError, match="whole numbers"):
        noisy_labels(LOGITS, LABELS, INDEX.double())
    with pytest.raises(DataError, match=r"labels run from .* 4 classes"):
        noisy_labels(LOGITS, LABELS + 1, INDEX)
    with pytest.raises(ConfigError, match="temperature must be above 0"):
        noisy_labels(LOGITS, LABELS, INDEX, temperature=0.0)
    with pytest.raises(ConfigError, match="a variance is at least 0"):
        noisy_labels(LOGITS, LABELS, INDEX, variance=-0.1)


def test_a_stage_without_a_teacher_takes_it() -> None:
    text = """
stages:
  control:
    kind: classify.train
    source: digits
    model: resnet8
    terms:
      - {loss: cross_entropy, weight: 0.1}
      - {loss: {name: noisy_labels, variance: 0.3}, weight: 0.9}
"""
    terms = load_recipe(text, name="my.yaml").stages["control"].terms
    assert terms[1].loss.settings == {"variance": 0.3, "temperature": 0.15, "seed": 0}
