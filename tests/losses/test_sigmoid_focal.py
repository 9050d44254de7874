from __future__ import annotations

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from limbeck.errors import DataError, ShapeError
from limbeck.losses import sigmoid_focal

LOGITS = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 3, 1, 1, 2])


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (-1, 0.0), (0.6, 1.0)])
def test_torchvision_agrees(alpha: float, gamma: float) -> None:
    one_hot = torch.nn.functional.one_hot(LABELS, 4).double()
    wanted = sigmoid_focal_loss(LOGITS, one_hot, alpha=alpha, gamma=gamma).sum(1)
    torch.testing.assert_close(sigmoid_focal(LOGITS, LABELS, alpha=alpha, gamma=gamma), wanted)
    torch.testing.assert_close(sigmoid_focal(LOGITS, one_hot, alpha=alpha, gamma=gamma), wanted)


def test_wrong_labels_are_refused() -> None:
    with pytest.raises(DataError, match="4"):
        sigmoid_focal(LOGITS, torch.tensor([0, 4, 1, 1, 1]))
    with pytest.raises(ShapeError):
        sigmoid_focal(LOGITS[0], LABELS)
