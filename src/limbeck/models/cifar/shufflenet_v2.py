"""Blocks that split their channels and shuffle them back together, for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limbeck.bounds import Positive, PositiveInt
from limbeck.errors import ModelError
from limbeck.models.cifar.channel_shuffle import channel_shuffle
from limbeck.models.cifar.initialisation import check_sizes

STEM = 24
# Channels of the three stages and of the last convolution.
WIDTHS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (224, 488, 976, 2048),
}
BLOCKS = (3, 7, 3)


class SplitBlock(nn.Module):
    """Half of the channels pass through, the other half is filtered; then both are shuffled.

    `relu:input`, tapped, is the map before the last activation, its channels in the order of the output. The half
    that passed through is never negative, so activating it again changes neither values nor gradients.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = nn.Conv2d(half, half, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(half, half, 3, 1, 1, groups=half, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Non-negative feature map (n, channels, h, w) to one of the same shape."""
        kept, changed = x.chunk(2, 1)
        out = self.relu1(self.bn1(self.conv1(changed)))
        out = self.bn3(self.conv3(self.bn2(self.conv2(out))))
        out = self.relu(channel_shuffle(torch.cat([kept, out], 1), 2))
        assert isinstance(out, Tensor)
        return out


class HalvingBlock(nn.Module):
    """Two branches with stride 2, joined and shuffled."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.left = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 3, 2, 1, groups=in_channels, bias=False),
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, half, 1, bias=False),
            nn.BatchNorm2d(half),
        )
        self.right = nn.Sequential(
            nn.Conv2d(in_channels, half, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            nn.Conv2d(half, half, 3, 2, 1, groups=half, bias=False),
            nn.BatchNorm2d(half),
            nn.Conv2d(half, half, 1, bias=False),
            nn.BatchNorm2d(half),
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Feature map (n, in_channels, h, w) to (n, out_channels, h / 2, w / 2)."""
        out = self.relu(channel_shuffle(torch.cat([self.left(x), self.right(x)], 1), 2))
        assert isinstance(out, Tensor)
        return out


class CifarShuffleNetV2(nn.Module):
    """Three stages behind a 1x1 stem; features are tapped at `layer1`, `layer2`, `layer3` and `avgpool`.

    Args:
        widths: channels of the three stages and of the last convolution.
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    Raises:
        ModelError: a number of classes or channels that makes no network.
    """

    def __init__(self, *, widths: tuple[int, int, int, int], num_classes: int, in_channels: int) -> None:
        super().__init__()
        check_sizes(num_classes, in_channels)
        self.conv1 = nn.Conv2d(in_channels, STEM, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.relu1 = nn.ReLU()
        self.layer1 = _stage(STEM, widths[0], BLOCKS[0])
        self.layer2 = _stage(widths[0], widths[1], BLOCKS[1])
        self.layer3 = _stage(widths[1], widths[2], BLOCKS[2])
        self.conv2 = nn.Conv2d(widths[2], widths[3], 1, bias=False)
        self.bn2 = nn.BatchNorm2d(widths[3])
        self.relu2 = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[3], num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w), from 8 pixels on, to the last map (n, 1024, h / 8, w / 8)."""
        out = self.relu1(self.bn1(self.conv1(images)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = self.relu2(self.bn2(self.conv2(out)))
        assert isinstance(out, Tensor)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w) to logits (n, num_classes)."""
        logits = self.fc(self.avgpool(self.forward_features(images)).flatten(1))
        assert isinstance(logits, Tensor)
        return logits


def _stage(in_channels: int, out_channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(
        HalvingBlock(in_channels, out_channels), *(SplitBlock(out_channels) for _ in range(blocks))
    )


def shufflenet_v2(*, num_classes: PositiveInt, in_channels: PositiveInt = 3, width: Positive = 1.0) -> nn.Module:
    """ShuffleNetV2 for small images: the usual student of resnet32x4 from another family.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.
        width: one of the published ones: 0.5, 1, 1.5, 2.

    Raises:
        ModelError: another width.

    References:
        Channel split [ma2018shufflenet]; the 1x1 stem without stride or pooling as in contrastive distillation
        [tian2020contrastive].
    """
    if width not in WIDTHS:
        raise ModelError(f"ShuffleNetV2 was published with widths 0.5, 1, 1.5 and 2, not {width}.")
    return CifarShuffleNetV2(widths=WIDTHS[width], num_classes=num_classes, in_channels=in_channels)
