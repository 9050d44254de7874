"""Blocks of grouped 1x1 convolutions whose channels are shuffled in between, for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limbeck.bounds import PositiveInt
from limbeck.models.cifar.channel_shuffle import channel_shuffle
from limbeck.models.cifar.initialisation import check_sizes

STEM = 24
WIDTHS = (240, 480, 960)
BLOCKS = (4, 8, 4)
GROUPS = 3


class ShuffleBlock(nn.Module):
    """Narrow in groups, shuffle, filter, widen in groups; added to its input, or put beside it where it halves.

    `relu:input`, tapped, is the map before the last activation.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, groups: int) -> None:
        super().__init__()
        # With stride 2 the input, averaged, supplies the rest of the channels.
        added = out_channels - in_channels if stride == 2 else out_channels
        width = added // 4
        # The stem is too narrow to be cut into groups.
        self.groups = 1 if in_channels == STEM else groups
        self.conv1 = nn.Conv2d(in_channels, width, 1, groups=self.groups, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, added, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm2d(added)
        self.pool = nn.AvgPool2d(3, 2, 1) if stride == 2 else None
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Feature map (n, in_channels, h, w) to (n, out_channels, h / stride, w / stride)."""
        out = channel_shuffle(self.relu1(self.bn1(self.conv1(x))), self.groups)
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out = self.relu(out + x if self.pool is None else torch.cat([out, self.pool(x)], 1))
        assert isinstance(out, Tensor)
        return out


class CifarShuffleNetV1(nn.Module):
    """Three stages behind a 1x1 stem; features are tapped at `layer1`, `layer2`, `layer3` and `avgpool`.

    Args:
        groups: of the 1x1 convolutions.
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    Raises:
        ModelError: a number of classes or channels that makes no network.
    """

    def __init__(self, *, groups: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        check_sizes(num_classes, in_channels)
        self.conv1 = nn.Conv2d(in_channels, STEM, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.relu = nn.ReLU()
        self.layer1 = _stage(STEM, WIDTHS[0], BLOCKS[0], groups)
        self.layer2 = _stage(WIDTHS[0], WIDTHS[1], BLOCKS[1], groups)
        self.layer3 = _stage(WIDTHS[1], WIDTHS[2], BLOCKS[2], groups)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(WIDTHS[2], num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w), from 8 pixels on, to the last map (n, 960, h / 8, w / 8)."""
        out = self.relu(self.bn1(self.conv1(images)))
        out = self.layer3(self.layer2(self.layer1(out)))
        assert isinstance(out, Tensor)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w) to logits (n, num_classes)."""
        logits = self.fc(self.avgpool(self.forward_features(images)).flatten(1))
        assert isinstance(logits, Tensor)
        return logits


def _stage(in_channels: int, out_channels: int, blocks: int, groups: int) -> nn.Sequential:
    first = ShuffleBlock(in_channels, out_channels, 2, groups)
    return nn.Sequential(first, *(ShuffleBlock(out_channels, out_channels, 1, groups) for _ in range(blocks - 1)))


def shufflenet_v1(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """ShuffleNet with three groups for small images: the usual student of wrn_40_2 and resnet32x4.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Grouped convolutions with shuffled channels [zhang2018shufflenet]; the 1x1 stem without stride or pooling
        as in contrastive distillation [tian2020contrastive].
    """
    return CifarShuffleNetV1(groups=GROUPS, num_classes=num_classes, in_channels=in_channels)
