"""Residual networks for small images, in the widths that the distillation literature compares.

Three stages of basic blocks behind a 3x3 stem; a depth of 6n + 2 has n blocks a stage. The plain ones are 16, 32
and 64 channels wide, the `x4` ones 64, 128 and 256 behind a stem of 32.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.bounds import PositiveInt
from limbeck.errors import ModelError

PLAIN = (16, 16, 32, 64)
FOURFOLD = (32, 64, 128, 256)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut.

    `relu:input`, tapped, is the sum before the last activation.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Feature map (n, in_channels, h, w) to (n, out_channels, h / stride, w / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out = self.relu(out + self.downsample(x))
        assert isinstance(out, Tensor)
        return out


class CifarResNet(nn.Module):
    """A residual network of three stages; features are tapped at `layer1`, `layer2`, `layer3` and `avgpool`.

    Args:
        depth: 6n + 2.
        widths: channels of the stem and of the three stages.
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    Raises:
        ModelError: a depth or a number of classes that makes no network.
    """

    def __init__(
        self, *, depth: int, widths: tuple[int, int, int, int], num_classes: int, in_channels: int
    ) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ModelError(f"a CIFAR ResNet has a depth of 6n + 2 (8, 14, 20, ...), not {depth}.")
        if num_classes < 1 or in_channels < 1:
            raise ModelError(
                f"a network needs num_classes and in_channels of at least 1, not {num_classes} and {in_channels}."
            )
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(in_channels, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.layer1 = _stage(widths[0], widths[1], blocks, stride=1)
        self.layer2 = _stage(widths[1], widths[2], blocks, stride=2)
        self.layer3 = _stage(widths[2], widths[3], blocks, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[3], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w) to the last map (n, widths[-1], h / 4, w / 4)."""
        out = self.relu(self.bn1(self.conv1(images)))
        out = self.layer3(self.layer2(self.layer1(out)))
        assert isinstance(out, Tensor)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w) to logits (n, num_classes)."""
        logits = self.fc(self.avgpool(self.forward_features(images)).flatten(1))
        assert isinstance(logits, Tensor)
        return logits


def _stage(in_channels: int, out_channels: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride)
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels, 1) for _ in range(blocks - 1)))


def resnet8(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """ResNet of depth 8 for small images, 16, 32 and 64 channels: a very small student.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Residual networks [he2016deep]; widths and depths as in contrastive distillation [tian2020contrastive].
    """
    return CifarResNet(depth=8, widths=PLAIN, num_classes=num_classes, in_channels=in_channels)


def resnet14(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """ResNet of depth 14 for small images, 16, 32 and 64 channels: a small student.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Residual networks [he2016deep]; widths and depths as in contrastive distillation [tian2020contrastive].
    """
    return CifarResNet(depth=14, widths=PLAIN, num_classes=num_classes, in_channels=in_channels)


def resnet20(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """ResNet of depth 20 for small images, 16, 32 and 64 channels: the usual student of resnet56.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Residual networks [he2016deep]; widths and depths as in contrastive distillation [tian2020contrastive].
    """
    return CifarResNet(depth=20, widths=PLAIN, num_classes=num_classes, in_channels=in_channels)


def resnet32(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """ResNet of depth 32 for small images, 16, 32 and 64 channels: the usual student of resnet110.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Residual networks [he2016deep]; widths and depths as in contrastive distillation [tian2020contrastive].
    """
    return CifarResNet(depth=32, widths=PLAIN, num_classes=num_classes, in_channels=in_channels)


def resnet44(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """ResNet of depth 44 for small images, 16, 32 and 64 channels: between resnet32 and resnet56.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Residual networks [he2016deep]; widths and depths as in contrastive distillation [tian2020contrastive].
    """
    return CifarResNet(depth=44, widths=PLAIN, num_classes=num_classes, in_channels=in_channels)


def resnet56(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """ResNet of depth 56 for small images, 16, 32 and 64 channels: the usual teacher of resnet20.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Residual networks [he2016deep]; widths and depths as in contrastive distillation [tian2020contrastive].
    """
    return CifarResNet(depth=56, widths=PLAIN, num_classes=num_classes, in_channels=in_channels)


def resnet110(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """ResNet of depth 110 for small images, 16, 32 and 64 channels: the usual teacher of resnet20 and resnet32.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Residual networks [he2016deep]; widths and depths as in contrastive distillation [tian2020contrastive].
    """
    return CifarResNet(depth=110, widths=PLAIN, num_classes=num_classes, in_channels=in_channels)


def resnet8x4(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """ResNet of depth 8 for small images, 64, 128 and 256 channels: the usual student of resnet32x4.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Residual networks [he2016deep]; widths and depths as in contrastive distillation [tian2020contrastive].
    """
    return CifarResNet(depth=8, widths=FOURFOLD, num_classes=num_classes, in_channels=in_channels)


def resnet32x4(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """ResNet of depth 32 for small images, 64, 128 and 256 channels: the usual teacher of resnet8x4.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Residual networks [he2016deep]; widths and depths as in contrastive distillation [tian2020contrastive].
    """
    return CifarResNet(depth=32, widths=FOURFOLD, num_classes=num_classes, in_channels=in_channels)
