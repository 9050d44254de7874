import numpy as np
import pytest
import torch

from limbeck.audit.questions.interventions import correlation, interventions
from limbeck.errors import ConfigError


def test_changes_of_the_same_and_of_other_networks(room):
    answer = interventions(room.sitting(), images=150)
    room.checked(answer)
    first = answer.evidence[0]
    assert (first.measure, first.kind, first.primary) == ("correlation", "likeness", True)
    assert first.tallies["same-s0"].value == pytest.approx(1.0)
    assert abs(first.tallies["other-s0"].value) < 0.3
    assert sum(one.primary for one in answer.evidence) == 1
    assert {one.measure for one in answer.evidence[1:]} == {
        f"{what}_{name}"
        for what in ("correlation", "change")
        for name in ("grey", "centre", "patch", "background")
    }


def test_correlation_is_pearson_for_any_weights():
    x, y = torch.randn(2, 50, 1, generator=torch.Generator().manual_seed(0)).double() * 3 + 100
    tally = correlation(x, y)
    assert tally.value == pytest.approx(np.corrcoef(x[:, 0], y[:, 0])[0, 1], rel=1e-9)
    rows = torch.randint(50, (50,), generator=torch.Generator().manual_seed(1))
    drawn = tally.weighted(torch.bincount(rows, minlength=50)[None].double())
    assert drawn.item() == pytest.approx(np.corrcoef(x[rows, 0], y[rows, 0])[0, 1], rel=1e-9)
    assert torch.tensor(correlation(x, torch.zeros_like(x)).value).isnan()


def test_grey_images_have_no_colour_to_lose(room):
    exam = room.sitting(shape=(1, 8, 8), count=40)
    assert interventions(exam).evidence[0].constants["interventions"] == ["centre", "patch", "background"]
    with pytest.raises(ConfigError, match="no colours to take away"):
        interventions(exam, names=("grey",))
    with pytest.raises(ConfigError, match="unknown name 'gray'"):
        interventions(exam, names=("gray",))
