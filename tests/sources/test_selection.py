import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import DataError
from limbeck.sources.selection import choose, hold_out, split_rows

many_labels = st.lists(st.integers(0, 3), min_size=8, max_size=60).map(lambda v: torch.tensor([*v, 0, 1, 2, 3]))
NAMES = ("a", "b", "c", "d")


@given(labels=many_labels, limit=st.integers(1, 80), seed=st.integers(0, 5))
def test_limit_is_balanced_distinct_and_repeatable(labels, limit, seed):
    rows = choose(labels, NAMES, limit=limit, seed=seed)
    assert len(rows) == min(limit, len(labels))
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert torch.equal(rows, choose(labels, NAMES, limit=limit, seed=seed))
    counts, available = torch.bincount(labels[rows], minlength=4), torch.bincount(labels, minlength=4)
    # A class is behind the richest one only if it has no more images.
    assert all(c >= counts.max() - 1 or c == a for c, a in zip(counts, available, strict=True))


@given(labels=many_labels, more=st.integers(1, 3))
def test_larger_choices_contain_smaller_ones(labels, more):
    small, large = choose(labels, NAMES, limit=4), choose(labels, NAMES, limit=4 * (1 + more))
    assert set(small.tolist()) <= set(large.tolist())


def test_per_class_then_limit():
    labels = torch.arange(40) % 4
    assert torch.bincount(labels[choose(labels, NAMES, per_class=3)]).tolist() == [3, 3, 3, 3]
    assert torch.bincount(labels[choose(labels, NAMES, per_class=3, limit=8)]).tolist() == [2, 2, 2, 2]
    assert choose(labels, NAMES) is None


def test_another_seed_chooses_others():
    labels = torch.arange(400) % 4
    assert not torch.equal(choose(labels, NAMES, limit=40), choose(labels, NAMES, limit=40, seed=1))


@given(labels=many_labels, share=st.floats(0, 1))
def test_hold_out_takes_the_same_share_of_every_class(labels, share):
    kept, held = hold_out(labels, 4, share)
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(len(labels)))
    counts, available = torch.bincount(labels[held], minlength=4), torch.bincount(labels, minlength=4)
    assert all(abs(c - a * share) <= 0.5 + 1e-9 for c, a in zip(counts.tolist(), available.tolist(), strict=True))


def test_shares_that_leave_nothing():
    labels = torch.arange(8) % 4
    with pytest.raises(DataError, match=r"test_share: 1.5 is not a share"):
        split_rows(labels, 4, split="test", share=1.5, what="x")
    with pytest.raises(DataError, match=r"x has 8 images and no separate test split; test_share: 0.0 leaves none"):
        split_rows(labels, 4, split="test", share=0.0, what="x")
    assert len(split_rows(labels, 4, split="test", share=1.0, what="x")) == 8
