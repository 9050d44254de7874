from __future__ import annotations

import pytest
import torch

from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.losses import cross_entropy

LOGITS = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_loops_agree() -> None:
    labels = torch.tensor([0, 3, 1])
    values = cross_entropy(LOGITS, labels)
    for row, label, value in zip(LOGITS, labels, values, strict=True):
        torch.testing.assert_close(value, row.exp().sum().log() - row[label])


def test_one_hot_and_soft_labels() -> None:
    labels = torch.tensor([0, 3, 1])
    soft = torch.nn.functional.one_hot(labels, 4).double()
    torch.testing.assert_close(cross_entropy(LOGITS, soft), cross_entropy(LOGITS, labels))
    mixed = (soft + soft.flip(0)) / 2
    wanted = (cross_entropy(LOGITS, labels) + cross_entropy(LOGITS, labels.flip(0))) / 2
    torch.testing.assert_close(cross_entropy(LOGITS, mixed), wanted)


def test_smoothing_mixes_in_the_uniform_target() -> None:
    labels = torch.tensor([0, 3, 1])
    uniform = cross_entropy(LOGITS, torch.full((3, 4), 0.25, dtype=torch.float64))
    wanted = 0.9 * cross_entropy(LOGITS, labels) + 0.1 * uniform
    torch.testing.assert_close(cross_entropy(LOGITS, labels, label_smoothing=0.1), wanted)


@pytest.mark.parametrize("labels", [torch.tensor([0, 4, 1]), torch.tensor([0, -1, 1])])
def test_labels_that_are_no_class(labels: torch.Tensor) -> None:
    with pytest.raises(DataError, match=r"labels run from .* 4 classes \(0 to 3\)"):
        cross_entropy(LOGITS, labels)


@pytest.mark.parametrize("labels", [torch.tensor([0, 1]), torch.zeros(3), torch.zeros(3, 5)])
def test_labels_of_another_shape(labels: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match="cross_entropy: labels have shape"):
        cross_entropy(LOGITS, labels)


def test_smoothing_out_of_range() -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        cross_entropy(LOGITS, torch.tensor([0, 1, 2]), label_smoothing=1.5)
