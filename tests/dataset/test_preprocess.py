"""Channel statistics and ZCA: recorded values, and back again."""

from __future__ import annotations

import pytest
import torch

from limbeck.dataset.preprocess import Normalisation, fit_whitening, from_tensors
from limbeck.errors import CheckpointError, DataError


@pytest.mark.parametrize("number", [0, 1])
def test_zca_agrees_with_the_recorded_program(golden, close, number):
    params, a = golden(f"zca_{number}")
    found = fit_whitening(a["train"], eps=params["eps"])
    close(found.mean[None], a["mean"], params)
    close(found.matrix, a["matrix"], params)
    close(found.inverse, a["inverse_matrix"], params)
    close(found.apply(a["train"]), a["train_out"], params)
    close(found.apply(a["test"]), a["test_out"], params)
    close(found.invert(a["train_out"]), a["train_back"], params)


def test_normalisation_and_back():
    found = Normalisation((0.5, 0.1), (0.2, 0.4))
    pixels = torch.rand(3, 2, 4, 4)
    torch.testing.assert_close(found.invert(found.apply(pixels)), pixels)
    assert from_tensors("normalisation", found.tensors()) == found


def test_images_too_large_or_too_few_for_zca_are_refused():
    with pytest.raises(DataError, match=r"12288 x 12288 matrix"):
        fit_whitening(torch.zeros(2, 3, 64, 64))
    with pytest.raises(DataError, match="at least two"):
        fit_whitening(torch.zeros(1, 3, 4, 4))
    with pytest.raises(DataError, match="fitted on images of 16 values, these have 64"):
        fit_whitening(torch.rand(20, 1, 4, 4)).apply(torch.rand(1, 1, 8, 8))


def test_pixels_that_are_not_finite_are_not_whitened():
    pixels = torch.rand(20, 1, 4, 4)
    pixels[7, 0, 1, 1] = torch.inf
    with pytest.raises(DataError, match="image 7 holds values that are not finite"):
        fit_whitening(pixels)


def test_what_is_missing_is_named():
    with pytest.raises(CheckpointError, match="'normalisation' lacks its std"):
        from_tensors("normalisation", {"mean": torch.zeros(3)})
    with pytest.raises(CheckpointError, match="'pca' is not known"):
        from_tensors("pca", {})
