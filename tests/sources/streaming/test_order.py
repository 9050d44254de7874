import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.seeding import permutation
from limbeck.sources.streaming.order import shuffled_order, windows


def bounds_of(sizes):
    return torch.tensor([0, *sizes]).cumsum(0)


def order(sizes, *, buffer=10, seed=0, epoch=1):
    visits = permutation(len(sizes), seed, epoch)
    return shuffled_order(visits, bounds_of(sizes), buffer=buffer, seed=seed, epoch=epoch)


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any),
    buffer=st.integers(1, 40),
    seed=st.integers(0, 5),
)
def test_every_row_comes_once_in_windows_of_bounded_size(sizes, buffer, seed):
    assert sorted(order(sizes, buffer=buffer, seed=seed).tolist()) == list(range(sum(sizes)))
    visits = permutation(len(sizes), seed, 1)
    found = list(windows(visits, bounds_of(sizes), buffer=buffer))
    assert torch.cat(found).tolist() == [v for v in visits.tolist() if sizes[v]]
    assert all(sum(sizes[c] for c in window.tolist()) < buffer + max(sizes) for window in found)


def test_it_is_a_function_of_seed_and_epoch():
    sizes = [7] * 9
    assert torch.equal(order(sizes, seed=3, epoch=2), order(sizes, seed=3, epoch=2))
    assert not torch.equal(order(sizes, seed=3, epoch=2), order(sizes, seed=3, epoch=3))
    assert not torch.equal(order(sizes, seed=3, epoch=2), order(sizes, seed=4, epoch=2))


def test_a_buffer_of_the_whole_set_makes_all_places_equally_likely():
    sizes, runs = [2, 3, 1], 1200
    found = torch.stack([order(sizes, buffer=6, epoch=epoch) for epoch in range(1, runs + 1)])
    for place in range(6):
        counts = torch.bincount(found[:, place], minlength=6).double()
        assert float(((counts - runs / 6) ** 2 / (runs / 6)).sum()) < 20.5  # chi-square, 5 degrees, 0.1 %
    neighbours = (found[:, 1:] - found[:, :-1] == 1).double().mean()
    assert float(neighbours) == pytest.approx(1 / 6, abs=0.015)


def test_rows_of_a_window_mix_and_windows_do_not():
    sizes = [10] * 8
    found = order(sizes, buffer=40)
    chunks = found // 10
    first, second = (set(part.tolist()) for part in (chunks[:40], chunks[40:]))
    assert (len(first), len(second), first & second) == (4, 4, set())
    assert len(set(chunks[:10].tolist())) > 2
