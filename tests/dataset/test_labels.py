"""Labels and what is taken away from them: recorded values, identities, properties."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from limbeck.dataset.labels import (
    entropy,
    erase_class,
    expert_labels,
    second_guess,
    smoothed_like,
    swap,
    tempered_like,
    top_k,
)
from limbeck.dataset.scores import augmentation_robust_score, hard_label_recovery, label_robust_score
from limbeck.errors import ConfigError, DataError, ShapeError


@pytest.mark.parametrize("number", [0, 1])
def test_changes_agree_with_the_recorded_program(golden, close, number):
    params, a = golden(f"label_ablation_{number}")
    for name, wanted in a.items():
        kind, _, k = name.partition("_")
        if kind == "swap":
            close(swap(a["labels"], int(k)), wanted, params)
        elif kind == "topk":
            close(top_k(a["labels"], int(k)), wanted, params)
        elif name.startswith("ce_topk"):
            found = F.cross_entropy(a["student_logits"], top_k(a["labels"], int(name.rsplit("_")[-1])))
            close(found, wanted, params)
    close(entropy(a["labels"]), a["entropy"], params)
    images = torch.arange(len(a["labels"])) // params["ipc"]
    close(erase_class(a["labels"], images, params["erased_class"]), a["erase_class_2"], params)
    close(expert_labels(a["expert_logits"]), a["ensemble"], params)
    close(expert_labels(a["expert_logits"], beta=0.5), a["ensemble_beta0.5"], params)


@pytest.mark.parametrize("number", [0, 1])
def test_students_of_soft_labels_agree_with_the_recorded_program(golden, close, number):
    params, a = golden(f"softlabel_loss_{number}")
    for beta in (1.0, 0.5, 0.2):
        student = a["student_logits"].clone().requires_grad_(True)
        loss = F.cross_entropy(student, expert_labels(a["teacher_logits"], beta=beta))
        close(loss, a[f"ce_beta{beta}"], params)
        close(torch.autograd.grad(loss, student)[0], a[f"grad_ce_beta{beta}"], params)


def test_scores_agree_with_the_recorded_formulas(golden):
    _, a = golden("scores")
    for full, hard, own, random, weight, hlr, _, _, lrs in a["lrs"].tolist():
        assert hard_label_recovery(full, hard) == pytest.approx(hlr)
        found = label_robust_score(
            full_hard=full, synthetic_hard=hard, synthetic=own, random=random, weight=weight
        )
        assert found == pytest.approx(lrs)
    for own, random, own_plain, random_plain, weight, _, ars in a["ars"].tolist():
        found = augmentation_robust_score(
            synthetic=own, random=random, synthetic_plain=own_plain, random_plain=random_plain, weight=weight
        )
        assert found == pytest.approx(ars)


def test_percentages_are_refused():
    with pytest.raises(DataError, match="Divide percentages by 100"):
        hard_label_recovery(84.8, 46.0)


@st.composite
def probabilities(draw: st.DrawFn) -> Tensor:
    classes = draw(st.integers(2, 8))
    seed = draw(st.integers(0, 2**16))
    sharp = draw(st.floats(0.1, 5))
    return (
        sharp * torch.randn(4, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ).softmax(1)


@given(probabilities(), st.integers(1, 7))
def test_a_swap_moves_mass_and_loses_none(p, k):
    if k >= p.shape[1]:
        with pytest.raises(ConfigError, match="is not between 1 and"):
            swap(p, k)
        return
    found = swap(p, k)
    assert torch.equal(found.sort(1).values, p.sort(1).values)
    torch.testing.assert_close(entropy(found), entropy(p))


@given(probabilities(), st.integers(1, 9))
def test_the_top_keeps_the_largest_and_nothing_else(p, k):
    found = top_k(p, k)
    kept = min(k, p.shape[1])
    assert bool(((found > 0).sum(1) <= kept).all())
    torch.testing.assert_close(found.sum(1), p.topk(kept, 1).values.sum(1))
    torch.testing.assert_close(top_k(p, k, renormalise=True).sum(1), torch.ones(4, dtype=torch.float64))


@given(probabilities(), st.integers(0, 100))
def test_smoothed_and_tempered_labels_have_the_same_entropy(p, seed):
    labels = torch.arange(4) % p.shape[1]
    torch.testing.assert_close(entropy(smoothed_like(p, labels)), entropy(p), atol=1e-6, rtol=1e-6)
    logits = torch.randn(p.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    tempered = tempered_like(logits, entropy(p))
    torch.testing.assert_close(entropy(tempered), entropy(p), atol=1e-6, rtol=1e-6)
    assert torch.equal(tempered.argsort(1), logits.argsort(1))


def test_second_guesses_are_means_without_the_diagonal():
    p = torch.tensor([[0.6, 0.3, 0.1], [0.8, 0.1, 0.1], [0.2, 0.7, 0.1]])
    found = second_guess(p, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(found, torch.tensor([[0, 0.2, 0.1], [0.2, 0, 0.1], [0, 0, 0]]))


def test_logits_of_another_shape_are_refused():
    with pytest.raises(ShapeError):
        expert_labels(torch.zeros(3))
    with pytest.raises(ConfigError, match="at least 1"):
        top_k(torch.eye(2), 0)
