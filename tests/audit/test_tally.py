import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.audit.tally import Tally, ratio, share
from limbeck.errors import ShapeError


@given(st.lists(st.one_of(st.floats(-10, 10), st.just(math.nan)), min_size=1, max_size=30), st.integers(0, 99))
def test_a_share_for_any_weighting(values, seed):
    tally = share(torch.tensor(values, dtype=torch.float64))
    known = [value for value in values if not math.isnan(value)]
    assert tally.count == len(known)
    if not known:
        assert math.isnan(tally.value)
        return
    assert tally.value == pytest.approx(sum(known) / len(known), abs=1e-12)
    rows = torch.randint(len(values), (len(values),), generator=torch.Generator().manual_seed(seed))
    drawn = [values[row] for row in rows.tolist() if not math.isnan(values[row])]
    found = tally.weighted(torch.bincount(rows, minlength=len(values))[None])
    expected = sum(drawn) / len(drawn) if drawn else math.nan
    assert found.tolist() == pytest.approx([expected], nan_ok=True, abs=1e-12)


def test_some_images_alone():
    tally = share(torch.tensor([1.0, 0.0, 1.0]), torch.tensor([True, True, False]))
    assert (tally.value, tally.count) == (0.5, 2)
    assert share(torch.tensor([True, False])).value == 0.5


def test_what_is_no_tally():
    with pytest.raises(ShapeError, match=r"one row for each image; got shape \(3,\)"):
        Tally(torch.ones(3))
    with pytest.raises(ShapeError, match=r"row 1 holds \[1.0, nan\]"):
        Tally(torch.tensor([[1.0, 1.0], [1.0, math.nan]]))


def test_nothing_counted_is_no_number():
    assert math.isnan(ratio(torch.zeros(2)).item())
