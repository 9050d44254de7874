"""Picking real images: recorded deciles, every strategy, classes that are too small."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from limbeck.dataset.selection import DECILES, deciles, difficulty, pick
from limbeck.errors import ConfigError, DataError

LABELS = torch.arange(60) % 3


def test_deciles_agree_with_the_recorded_program_but_for_the_hardest_image(golden, close):
    params, a = golden("selection_quantiles")
    # The released score puts a softmax on probabilities; the recorded bins are of that score.
    score = F.cross_entropy(a["softlabels"], a["hardlabels"], reduction="none")
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


def test_an_unknown_strategy_is_named():
    with pytest.raises(ConfigError, match="'best' is not one of"):
        pick(LABELS, 2, strategy="best", scores=torch.rand(60))
