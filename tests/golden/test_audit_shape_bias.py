"""Shape decisions against recorded values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.audit.questions.shape_bias import shape_decisions

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "audit"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the recorded values are not on this machine")


def test_the_shape_bias_is_the_recorded_one():
    case = {name: torch.from_numpy(values) for name, values in np.load(GOLDEN / "shape_bias.npz").items()}
    tally = shape_decisions(case["response"], case["shape_class"], case["texture_class"])
    np.testing.assert_allclose(tally.value, case["shape_bias"], rtol=1e-12)
    by_shape = tally.columns.mean(dim=0)
    np.testing.assert_allclose(by_shape[0], case["fraction_correct_shape"], rtol=1e-12)
    np.testing.assert_allclose(by_shape[1] - by_shape[0], case["fraction_correct_texture"], rtol=1e-12)
