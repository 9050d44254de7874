"""Picking real images: recorded deciles, every strategy, classes that are too small."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.dataset.config import SELECTIONS
from limbeck.dataset.selection import DECILES, STRATEGIES, deciles, difficulty, pick, released_difficulty
from limbeck.errors import ConfigError, DataError, ShapeError

LABELS = torch.arange(60) % 3


def test_deciles_agree_with_the_recorded_program_but_for_the_hardest_image(golden, close):
    params, a = golden("selection_quantiles")
    score = released_difficulty(a["softlabels"], a["hardlabels"])
    close(score, a["score"], params)
    recorded = {(c, d): set() for c in range(params["classes"]) for d in range(DECILES)}
    for label, decile, index in a["selection"].tolist():
        recorded[label, decile].add(index)
    for label in range(params["classes"]):
        rows = (a["hardlabels"] == label).nonzero()[:, 0]
        bins = deciles(score[rows])
        for decile in range(DECILES):
            mine = set(rows[bins == decile].tolist())
            extra = {int(rows[score[rows].argmax()])} if decile == DECILES - 1 else set()
            assert mine == recorded[label, decile] | extra


@pytest.mark.parametrize("strategy", ["random", "stratified", "herding", "kmeans", "0", "5", "9"])
def test_every_strategy_picks_distinct_images_class_by_class(strategy):
    draws = torch.Generator().manual_seed(0)
    features, scores = torch.randn(60, 4, generator=draws), torch.rand(60, generator=draws)
    found = pick(LABELS, 4, strategy=strategy, seed=1, scores=scores, features=features)
    assert torch.equal(LABELS[found], torch.arange(3).repeat_interleave(4))
    assert len(set(found.tolist())) == 12
    again = pick(LABELS, 4, strategy=strategy, seed=1, scores=scores, features=features)
    assert torch.equal(found, again)


def test_larger_random_sets_hold_the_smaller_ones():
    small, large = (set(pick(LABELS, ipc, seed=2).tolist()) for ipc in (2, 5))
    assert small < large


def test_difficulty_is_minus_the_log_of_the_true_class():
    p = torch.tensor([[0.25, 0.75], [0.0, 1.0]])
    found = difficulty(p, torch.tensor([0, 0]))
    assert float(found[0]) == pytest.approx(1.3863, abs=1e-4)
    assert bool(torch.isfinite(found).all())


def test_easy_images_are_in_the_first_decile_and_hard_ones_in_the_last():
    scores = torch.arange(60.0)
    easy, hard = (pick(LABELS, 2, strategy=s, scores=scores) for s in ("0", "9"))
    assert scores[easy].max() < scores[hard].min()


@pytest.mark.parametrize(
    ("labels", "said"),
    [(LABELS, "ipc: 21 images per class are asked for, class 'a' has 20"), (LABELS % 2, "class 'c' has 0")],
)
def test_classes_that_are_too_small_are_named(labels, said):
    ipc = 21 if "21" in said else 1
    with pytest.raises(DataError, match=said):
        pick(labels, ipc, class_names=("a", "b", "c"))


@pytest.mark.parametrize(("strategy", "said"), [("kmeans", "features"), ("3", "difficulty")])
def test_strategies_say_what_they_look_at(strategy, said):
    with pytest.raises(ConfigError, match=said):
        pick(LABELS, 2, strategy=strategy)


@pytest.mark.parametrize("strategy", ["best", "10", "²", ""])
def test_an_unknown_strategy_is_named(strategy):
    with pytest.raises(ConfigError, match=f"'{strategy}' is not one of"):
        pick(LABELS, 2, strategy=strategy)


def test_recipes_offer_every_strategy():
    assert set(SELECTIONS) == set(STRATEGIES)


@given(st.integers(1, 20), st.integers(0, 9))
def test_stratified_images_are_one_of_each_equal_group(ipc, seed):
    scores = torch.arange(60.0)
    found = pick(LABELS, ipc, strategy="stratified", seed=seed, scores=scores).view(3, ipc)
    for label in range(3):
        groups = torch.arange(label, 60, 3).tensor_split(ipc)
        assert all(int(image) in group.tolist() for image, group in zip(found[label], groups, strict=True))


def test_few_stratified_images_are_as_hard_as_all():
    scores = torch.rand(3000, generator=torch.Generator().manual_seed(0))
    found = pick(torch.arange(3000) % 3, 4, strategy="stratified", scores=scores)
    assert float(scores[found].mean()) == pytest.approx(0.5, abs=0.1)


def test_ten_stratified_images_are_one_of_each_decile():
    draws = torch.Generator().manual_seed(3)
    scores = torch.rand(300, generator=draws)
    found = pick(torch.zeros(300, dtype=torch.int64), 10, strategy="stratified", scores=scores)
    assert torch.equal(deciles(scores)[found], torch.arange(10))


@given(st.integers(0, 9), st.integers(1, 30))
def test_a_short_decile_is_filled_from_harder_ones_then_at_random(decile, ipc):
    scores = torch.randperm(30, generator=torch.Generator().manual_seed(1)).double()
    bins = deciles(scores)
    found = pick(torch.zeros(30, dtype=torch.int64), ipc, strategy=str(decile), scores=scores)
    assert len(set(found.tolist())) == ipc
    harder = 30 - 3 * decile
    assert bins[found[:harder]].tolist() == sorted(bins[found[:harder]].tolist())
    assert bool((bins[found[:harder]] >= decile).all())
    assert bool((bins[found[harder:]] < decile).all())


def test_what_fills_the_last_decile_depends_on_the_seed():
    one, same, other = (
        pick(torch.zeros(60, dtype=torch.int64), 20, strategy="9", scores=torch.arange(60.0), seed=s)
        for s in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert torch.equal(one[:6], other[:6])
    assert not torch.equal(one, other)


def test_equal_images_are_still_picked_once_each():
    found = pick(LABELS, 4, strategy="kmeans", features=torch.zeros(60, 2))
    assert len(set(found.tolist())) == 12


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"strategy": "3", "scores": torch.rand(5)}, ShapeError, "scores of 60 images"),
        ({"strategy": "kmeans", "features": torch.rand(60)}, ShapeError, "features of 60 images"),
        ({"strategy": "9", "scores": torch.full((60,), torch.nan)}, DataError, "scores: some are not finite"),
        ({"class_names": ("a", "b")}, DataError, "labels are classes 0 to 1; got 0 to 2"),
    ],
)
def test_what_does_not_belong_to_the_images_is_refused(given, error, said):
    with pytest.raises(error, match=said):
        pick(LABELS, 2, **given)


def test_nothing_to_pick_is_said():
    with pytest.raises(ConfigError, match="ipc: 0 images per class"):
        pick(LABELS, 0)
    with pytest.raises(DataError, match="no images"):
        pick(LABELS[:0], 1)
