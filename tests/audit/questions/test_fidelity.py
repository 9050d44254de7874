import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.audit.questions.fidelity import fidelity, kappa_tally


@pytest.fixture(scope="module")
def answer(examined):
    return fidelity(examined(), top_k=2)


def numbers(answer, name):
    return {one.measure: one.tallies[name].value for one in answer.evidence}


def test_the_same_network_twice_agrees_in_everything(answer, room):
    room.checked(answer)
    same = numbers(answer, "same-s0")
    assert {same[name] for name in ("agreement", "top2")} == {1.0}
    assert same["kappa"] == pytest.approx(1.0)
    assert same["rank_correlation"] == pytest.approx(1.0)
    assert [same[name] for name in ("kl", "js", "total_variation")] == pytest.approx([0.0] * 3, abs=1e-7)
    assert same["accuracy"] == pytest.approx(0.8)


def test_an_unrelated_network_agrees_by_chance(answer):
    other = numbers(answer, "other-s0")
    by_name = {one.measure: one for one in answer.evidence}
    assert abs(other["agreement"] - by_name["agreement"].chance) < 0.1
    assert abs(other["kappa"]) < 0.15
    assert abs(other["top2"] - by_name["top2"].chance) < 0.2
    assert other["kl"] > 0.5
    assert 0.1 < other["js"] < math.log(2)


def test_a_part_of_the_images(examined):
    answer = fidelity(examined(), images=50)
    assert {len(tally.columns) for one in answer.evidence for tally in one.tallies.values()} == {50}
    assert "50 images" in answer.figures["agreement"]["caption"]


def test_two_classes_have_no_top_k(examined):
    assert "top3" in {one.measure for one in fidelity(examined(count=40)).evidence}
    assert not [one for one in fidelity(examined(count=40), top_k=1).evidence if one.measure.startswith("top")]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
def test_kappa_is_that_of_the_contingency_table(pairs):
    mine, theirs = torch.tensor(pairs).T
    table = torch.zeros(4, 4, dtype=torch.float64).index_put_(
        (mine, theirs), torch.ones(len(pairs)).double(), True
    )
    table /= table.sum()
    expected = (table.sum(dim=0) * table.sum(dim=1)).sum()
    one_hot = torch.nn.functional.one_hot
    found = kappa_tally(one_hot(mine, 4).float(), one_hot(theirs, 4).float()).value
    if expected > 1 - 1e-12:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(float((table.trace() - expected) / (1 - expected)), abs=1e-9)
        assert kappa_tally(one_hot(theirs, 4).float(), one_hot(mine, 4).float()).value == pytest.approx(found)
