"""A quarter of ResNet-50."""

from __future__ import annotations

import torch
from torchvision.models import resnet50

from limbeck.models import build


def test_it_is_torchvision_s_with_a_quarter_of_the_channels():
    ours, theirs = build("quarter_resnet50", num_classes=10), resnet50(num_classes=10)
    shapes = {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in ours.state_dict().items()}
    assert list(found) == list(shapes)
    for name, shape in shapes.items():
        if name == "conv1.weight":
            assert found[name] == (16, 3, 7, 7)
        elif name.startswith("fc."):
            assert found[name] == tuple(n // 4 if n == 2048 else n for n in shape)
        else:
            assert found[name] == tuple(n if n <= 3 else n // 4 for n in shape)


def test_it_gives_logits_and_a_last_map():
    net = build("quarter_resnet50", num_classes=5, in_channels=1).eval()
    with torch.no_grad():
        assert net(torch.rand(2, 1, 64, 64)).shape == (2, 5)
        assert net.forward_features(torch.rand(1, 1, 64, 96)).shape == (1, 512, 2, 3)
