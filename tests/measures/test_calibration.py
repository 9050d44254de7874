from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.measures import (
    brier_score,
    expected_calibration_error,
    fit_temperature,
    maximum_calibration_error,
    negative_log_likelihood,
    reliability,
)

DRAW = torch.Generator().manual_seed(0)
LOGITS = 4 * torch.randn(200, 6, generator=DRAW, dtype=torch.float64)
LABELS = torch.distributions.Categorical(logits=LOGITS / 2.5).sample()


def test_bins_by_loops() -> None:
    found = reliability(LOGITS, LABELS, bins=8)
    confidence, predicted = LOGITS.softmax(1).max(1)
    for i in range(8):
        inside = (confidence > found.edges[i]) & (confidence <= found.edges[i + 1])
        assert found.counts[i] == inside.sum()
        if inside.any():
            assert found.accuracy[i] == pytest.approx((predicted == LABELS)[inside].double().mean().item())
            assert found.confidence[i] == pytest.approx(confidence[inside].mean().item())
        else:
            assert found.accuracy[i].isnan()
    assert found.counts.sum() == 200
    shares = found.counts / 200
    wanted = (shares * found.gaps)[found.counts > 0].sum()
    assert expected_calibration_error(LOGITS, LABELS, bins=8) == pytest.approx(wanted.item())
    assert maximum_calibration_error(LOGITS, LABELS, bins=8) == found.gaps[found.counts > 0].max()


@given(st.integers(1, 30), st.integers(1, 20), st.integers(0, 99))
def test_bounds(n, bins, seed) -> None:
    draw = torch.Generator().manual_seed(seed)
    logits, labels = torch.randn(n, 4, generator=draw), torch.randint(4, (n,), generator=draw)
    mean, most = (f(logits, labels, bins=bins) for f in (expected_calibration_error, maximum_calibration_error))
    assert 0 <= mean <= most + 1e-12
    assert most <= 1
    assert 0 <= brier_score(logits, labels) <= 2
    sure = 1e3 * torch.eye(4)[labels]
    for measure in (expected_calibration_error, maximum_calibration_error, brier_score):
        assert measure(sure, labels) == pytest.approx(0)
        assert measure(sure, torch.eye(4)[labels]) == pytest.approx(0)


def test_as_sure_as_right() -> None:
    logits = torch.tensor([0.75, 0.25]).log().expand(4, 2)
    assert expected_calibration_error(logits, torch.tensor([0, 0, 0, 1])) == pytest.approx(0, abs=1e-7)
    assert fit_temperature(logits, torch.tensor([0, 0, 0, 1])) == pytest.approx(1, abs=1e-6)


def test_temperature_is_the_likeliest() -> None:
    found = fit_temperature(LOGITS, LABELS)
    theirs = minimize_scalar(
        lambda t: negative_log_likelihood(LOGITS / t, LABELS), bounds=(0.1, 20), method="bounded"
    )
    assert found == pytest.approx(theirs.x, rel=1e-4)
    assert found == pytest.approx(2.5, rel=0.2)
    assert fit_temperature(LOGITS / found, LABELS) == pytest.approx(1)
    assert fit_temperature(7 * LOGITS + 100, LABELS) == pytest.approx(7 * found)
    assert negative_log_likelihood(LOGITS / found, LABELS) < negative_log_likelihood(LOGITS, LABELS)


def test_temperature_without_an_end() -> None:
    assert fit_temperature(torch.eye(3), torch.arange(3)) == 1e-3
    assert fit_temperature(torch.eye(3), (torch.arange(3) + 1) % 3) == 1e3
    assert fit_temperature(torch.zeros(3, 3), torch.arange(3)) == 1e3
    assert fit_temperature(1e4 * LOGITS, LABELS) == 1e3


def test_errors() -> None:
    for measure in (maximum_calibration_error, reliability):
        with pytest.raises(ConfigError, match=measure.__name__):
            measure(LOGITS, LABELS, bins=0)
    for measure in (brier_score, fit_temperature, maximum_calibration_error, reliability):
        with pytest.raises(DataError, match=measure.__name__):
            measure(LOGITS[:0], LABELS[:0])
        with pytest.raises(ShapeError, match=measure.__name__):
            measure(LOGITS, LABELS[:3])
    with pytest.raises(DataError, match="fit_temperature: the logits hold infinite"):
        fit_temperature(LOGITS / 0, LABELS)
