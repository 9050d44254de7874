from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import DataError, ShapeError
from limbeck.measures import coarse_probabilities, shape_bias, shape_decisions


@given(st.integers(1, 60), st.integers(0, 99))
def test_roles_exchanged(n, seed) -> None:
    decisions, shapes, textures = torch.randint(4, (3, n), generator=torch.Generator().manual_seed(seed))
    found, turned = shape_bias(decisions, shapes, textures), shape_bias(decisions, textures, shapes)
    assert (found.shape, found.texture) == (turned.texture, turned.shape)
    assert found.bias == pytest.approx(1 - turned.bias, nan_ok=True)
    assert shape_decisions(decisions, shapes, textures).nanmean().item() == pytest.approx(found.bias, nan_ok=True)
    assert found.conflicts == sum(a != b for a, b in zip(shapes.tolist(), textures.tolist(), strict=True))
    assert found.images == n


def test_images_without_a_conflict() -> None:
    found = shape_bias(torch.tensor([1, 1, 0]), torch.tensor([1, 1, 2]), torch.tensor([1, 0, 3]))
    assert (found.images, found.conflicts, found.shape, found.texture) == (3, 2, 1, 0)
    assert (found.bias, found.shape_fraction, found.texture_fraction) == (1, 1 / 3, 0)
    alone = torch.tensor([2])
    assert math.isnan(shape_bias(alone, alone, alone).bias)


def test_coarse_classes_by_their_mean() -> None:
    probabilities = torch.tensor([[0.3, 0.2, 0.1, 0.4]])
    found = coarse_probabilities(probabilities, [[0, 1, 2], [3]])
    torch.testing.assert_close(found, torch.tensor([[0.2, 0.4]]))  # by their sum the first would have won
    assert coarse_probabilities(probabilities, [(1,), (0, 3)]).argmax(1).tolist() == [1]


def test_errors() -> None:
    one = torch.tensor([1])
    with pytest.raises(ShapeError, match=r"textures \(2,\)"):
        shape_bias(one, one, torch.tensor([1, 2]))
    with pytest.raises(ShapeError, match="float32"):
        shape_bias(one.float(), one, one)
    with pytest.raises(DataError, match="no images"):
        shape_decisions(one[:0], one[:0], one[:0])
    with pytest.raises(ShapeError, match=r"\(n, classes\)"):
        coarse_probabilities(torch.zeros(3), [[0]])
    with pytest.raises(DataError, match="coarse class 1 has no members"):
        coarse_probabilities(torch.zeros(1, 3), [[0], []])
    with pytest.raises(DataError, match="coarse class 0 run from 0 to 3"):
        coarse_probabilities(torch.zeros(1, 3), [[0, 3]])
    with pytest.raises(DataError, match="no coarse classes"):
        coarse_probabilities(torch.zeros(1, 3), [])
