from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from limbeck.numerics.chance_agreement import kappa


def of_answers(left, right, answers=4):
    counts = [torch.bincount(x, minlength=answers).double() for x in (left, right)]
    return kappa((left == right).sum().double(), *counts)


@given(st.integers(2, 40), st.integers(0, 99))
def test_as_scikit_learn_has_it(n, seed) -> None:
    left, right = torch.randint(4, (2, n), generator=torch.Generator().manual_seed(seed))
    value = of_answers(left, right)
    if len({*left.tolist(), *right.tolist()}) == 1:
        assert value.isnan()
    else:
        assert value.item() == pytest.approx(cohen_kappa_score(left.numpy(), right.numpy()), abs=1e-12)
        assert of_answers(right, left).item() == pytest.approx(value.item())
    if len(set(left.tolist())) > 1:
        assert of_answers(left, left).item() == pytest.approx(1)


def test_many_at_once_and_none() -> None:
    agreed, counts = torch.tensor([[2.0, 0.0]]), torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    found = kappa(agreed, counts, counts)
    assert found.shape == (1, 2)
    assert found[0, 0] == 1
    assert found[0, 1].isnan()
