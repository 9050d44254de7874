"""DATM's first soft labels: the mean logits of the experts that are right about an image."""

from __future__ import annotations

import torch
from torch import nn

from limbeck.dataset.flat import Flat
from limbeck.dataset.methods.trajectory import first_logits


class Experts:
    """Linear experts whose logits of an image are rows of their weights."""

    snapshots = 2

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits

    def __len__(self) -> int:
        return len(self.logits)

    def weights(self, expert: int, snapshot: int) -> torch.Tensor:
        assert snapshot == 1
        return self.logits[expert].T.reshape(-1)


def test_only_experts_that_are_right_count_and_all_where_none_is():
    net = Flat(nn.Sequential(nn.Flatten(), nn.Linear(3, 2, bias=False)))
    logits = torch.tensor(
        [
            [[4.0, 0.0], [0.0, 3.0], [0.0, 1.0]],
            [[0.0, 9.0], [1.0, 5.0], [0.0, 3.0]],
        ]
    )
    found = first_logits(net, Experts(logits), torch.eye(3).view(3, 1, 1, 3), torch.tensor([0, 1, 0]))
    wanted = torch.tensor([[4.0, 0.0], [0.5, 4.0], [0.0, 2.0]])
    torch.testing.assert_close(found, wanted)
