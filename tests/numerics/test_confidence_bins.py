from __future__ import annotations

import torch

from limbeck.numerics.confidence_bins import confidence_bins


def test_edges_belong_to_the_bin_below() -> None:
    logits = torch.tensor([[0.5, 0.5], [0.75, 0.25], [0.8, 0.2], [1.0, 1e-30]]).double().log()
    place, confidence, right = confidence_bins(logits, torch.tensor([0, 0, 1, 1]), bins=4)
    assert place[[0, 2, 3]].tolist() == [1, 3, 3]
    torch.testing.assert_close(confidence, torch.tensor([0.5, 0.75, 0.8, 1.0], dtype=torch.float64))
    assert right[1:].tolist() == [1, 0, 0]
    assert confidence_bins(logits, torch.zeros(4, dtype=torch.long), bins=1)[0].tolist() == [0, 0, 0, 0]
