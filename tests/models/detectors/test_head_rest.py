"""A head behind one of its convolutions does what the whole head does."""

from __future__ import annotations

import pytest
import torch

from limbeck.errors import ModelError
from limbeck.models.detectors import Watch, head_rest
from limbeck.models.detectors.head_rest import side_rest

DENSE = ["retinanet", "fcos", "fcos_bins"]


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("after", [0, 1, 3, 4])
def test_the_rest_gives_the_same(name, after, make, batch):
    detector = make(name)
    _, seen = Watch(detector).forward(*batch(2, 1))
    dense, levels = seen.dense, list(seen.features.values())
    classes = [level[after - 1] for level in dense.class_towers] if after else levels
    boxes = [level[after - 1] for level in dense.box_towers] if after else levels
    assert torch.equal(head_rest(detector, "classification", classes, after), dense.class_logits)
    assert torch.equal(head_rest(detector, "regression", boxes, after), dense.box_deltas)
    if dense.side_logits is not None:
        assert torch.equal(side_rest(detector, boxes, after), dense.side_logits)


def test_gradient_reaches_the_maps(make):
    maps = [torch.rand(1, 32, 4, 4, requires_grad=True)]
    detector = make("retinanet").eval().requires_grad_(False)
    head_rest(detector, "classification", maps, 3).sum().backward()
    assert maps[0].grad.abs().sum() > 0


def test_refusals(make):
    with pytest.raises(ModelError, match="the head of a SSD has no towers"):
        head_rest(make("small_ssd"), "classification", [], 3)
    with pytest.raises(ModelError, match="has 4 convolutions"):
        head_rest(make("retinanet"), "regression", [torch.rand(1, 32, 4, 4)], 5)
    with pytest.raises(ModelError, match="no distributions"):
        side_rest(make("fcos"), [torch.rand(1, 32, 4, 4)], 3)
