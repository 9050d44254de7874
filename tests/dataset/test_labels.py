"""Labels and what is taken away from them: recorded values, identities, properties."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from limbeck.dataset.labels import (
    dense,
    entropy,
    erase_class,
    expert_labels,
    label_bytes,
    second_guess,
    smoothed_like,
    sparse,
    swap,
    tempered_like,
    top_k,
)
from limbeck.errors import ConfigError, ShapeError


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


@pytest.mark.parametrize("number", [0, 1])
def test_the_soft_cross_entropy_of_the_survey_is_that_of_labels_at_a_temperature(golden, close, number):
    params, a = golden(f"softlabel_loss_{number}")
    for temperature in (1.0, 1.2, 4.0, 20.0):
        student = a["student_logits"].clone().requires_grad_(True)
        wanted = expert_labels(a["teacher_logits"], beta=1 / temperature)
        for name, factor in (("", 1.0), ("_scaled", temperature**2)):
            loss = factor * F.cross_entropy(student / temperature, wanted)
            close(loss, a[f"sce_T{temperature}{name}"], params)
            close(torch.autograd.grad(loss, student)[0], a[f"grad_sce_T{temperature}{name}"], params)


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


@given(probabilities(), st.integers(1, 7))
def test_a_swap_undoes_itself(p, k):
    assume(k < p.shape[1] and all(len(row.unique()) == p.shape[1] for row in p))
    assert torch.equal(swap(swap(p, k), k), p)


@given(probabilities(), st.integers(1, 9))
def test_sparse_labels_come_back(p, k):
    kept = sparse(p, k)
    assert torch.equal(dense(kept.values, kept.places, p.shape[1]), top_k(p, k))
    assert torch.equal(kept.values, kept.values.sort(1, descending=True).values)
    if k >= p.shape[1]:
        assert torch.equal(dense(*kept, p.shape[1]), p)


@pytest.mark.parametrize(("classes", "dtype"), [(256, torch.uint8), (257, torch.int16), (40_000, torch.int32)])
def test_places_are_as_narrow_as_the_classes_allow(classes, dtype):
    p = torch.zeros(1, classes)
    p[0, -1] = 1
    kept = sparse(p, 1)
    assert kept.places.dtype == dtype
    assert torch.equal(dense(*kept, classes), p)


def test_sparse_labels_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"both \(n, k\)"):
        dense(torch.ones(2, 3), torch.zeros(2, 2, dtype=torch.int64), 5)
    with pytest.raises(ShapeError, match="classes 0 to 4; got 5 to 5"):
        dense(torch.ones(2, 1), torch.full((2, 1), 5), 5)


def test_bytes_of_labels_are_those_of_the_literature():
    images = 10 * 1000
    assert label_bytes(images, 1000) == 20e6
    assert label_bytes(images, 1000, views=300) == 6e9
    assert label_bytes(images, 1000, k=10) == images * 10 * (2 + 2)
    assert label_bytes(images, 100, k=10, dtype="float32") == images * 10 * (4 + 1)
    assert label_bytes(500, 10) == 10_000
    assert [label_bytes(500, classes, k=0, views=300) for classes in (1, 256, 257)] == [500, 500, 1000]


@given(st.integers(1, 3000), st.integers(0, 4000), st.sampled_from(["float16", "float32"]))
def test_fewer_probabilities_never_take_more_bytes(classes, k, dtype):
    whole = label_bytes(7, classes, dtype=dtype)
    assert label_bytes(7, classes, k=k, dtype=dtype) <= whole
    assert label_bytes(7, classes, k=k, dtype=dtype) <= label_bytes(7, classes, k=k + 1, dtype=dtype)


@pytest.mark.parametrize("wrong", [{"k": -1}, {"views": 0}, {"dtype": "int8"}])
def test_budgets_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigError, match="label_bytes"):
        label_bytes(10, 10, **wrong)


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
    # The order stays; far below the largest, probabilities are zero alike.
    assert bool((tempered.gather(1, logits.argsort(1)).diff(dim=1) >= 0).all())


def test_second_guesses_are_means_without_the_diagonal():
    p = torch.tensor([[0.6, 0.3, 0.1], [0.8, 0.1, 0.1], [0.2, 0.7, 0.1]])
    found = second_guess(p, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(found, torch.tensor([[0, 0.2, 0.1], [0.2, 0, 0.1], [0, 0, 0]]))


def test_logits_of_another_shape_are_refused():
    with pytest.raises(ShapeError):
        expert_labels(torch.zeros(3))
    with pytest.raises(ConfigError, match="at least 1"):
        top_k(torch.eye(2), 0)
