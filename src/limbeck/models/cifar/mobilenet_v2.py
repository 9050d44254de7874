"""Inverted residual blocks with linear ends for small images, as the distillation literature uses them."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from limbeck.bounds import Positive, PositiveInt
from limbeck.models.cifar.initialisation import check_sizes, he_normal

LAST = 1280
# Blocks of the original, with strides for images of 32 pixels: expansion or not, channels, blocks, stride.
GROUPS = (
    (False, 16, 1, 1),
    (True, 24, 2, 1),
    (True, 32, 3, 2),
    (True, 64, 4, 2),
    (True, 96, 3, 1),
    (True, 160, 3, 2),
    (True, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """Widen, filter every channel by itself, narrow; a shortcut where the shapes allow one.

    There is no activation behind the sum: what is tapped at the block is already the map before one.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = in_channels * expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Feature map (n, in_channels, h, w) to (n, out_channels, h / stride, w / stride)."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out = x + out if self.shortcut else out
        assert isinstance(out, Tensor)
        return out


class CifarMobileNetV2(nn.Module):
    """Seven groups of inverted residuals; features are tapped at `layer1` ... `layer4` and `avgpool`.

    Args:
        width: factor on the channels of every group; the last convolution keeps its 1280 channels below 1.
        expansion: how much wider a block is inside.
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    Raises:
        ModelError: a number of classes or channels that makes no network.
    """

    def __init__(self, *, width: float, expansion: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        check_sizes(num_classes, in_channels)
        channels = max(int(32 * width), 1)
        self.stem = _activated(in_channels, channels, 3, 2)
        groups: list[nn.Sequential] = []
        for wide, group, blocks, stride in GROUPS:
            out = max(int(group * width), 1)
            groups.append(_group(channels, out, blocks, stride, expansion if wide else 1))
            channels = out
        # Four stages by resolution, as the literature cuts them: the maps at their ends are f1 to f4.
        self.layer1 = nn.Sequential(*groups[0:2])
        self.layer2 = nn.Sequential(*groups[2:3])
        self.layer3 = nn.Sequential(*groups[3:5])
        self.layer4 = nn.Sequential(*groups[5:7])
        last = int(LAST * max(width, 1.0))
        self.head = _activated(channels, last, 1, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(last, num_classes)
        he_normal(self)
        nn.init.normal_(self.fc.weight, 0.0, 0.01)
        nn.init.zeros_(self.fc.bias)

    def forward_features(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w), to the last map (n, 1280, h / 16, w / 16)."""
        out = self.layer2(self.layer1(self.stem(images)))
        out = self.head(self.layer4(self.layer3(out)))
        assert isinstance(out, Tensor)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w) to logits (n, num_classes)."""
        logits = self.fc(self.avgpool(self.forward_features(images)).flatten(1))
        assert isinstance(logits, Tensor)
        return logits


def _activated(in_channels: int, out_channels: int, kernel: int, stride: int) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv"] = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
    layers["bn"] = nn.BatchNorm2d(out_channels)
    layers["relu"] = nn.ReLU()
    return nn.Sequential(layers)


def _group(in_channels: int, out_channels: int, blocks: int, stride: int, expansion: int) -> nn.Sequential:
    first = InvertedResidual(in_channels, out_channels, stride, expansion)
    return nn.Sequential(
        first, *(InvertedResidual(out_channels, out_channels, 1, expansion) for _ in range(blocks - 1))
    )


def mobilenet_v2(
    *, num_classes: PositiveInt, in_channels: PositiveInt = 3, width: Positive = 1.0, expansion: PositiveInt = 6
) -> nn.Module:
    """MobileNetV2 for small images, of any width.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.
        width: factor on all channels; the last convolution keeps 1280 below 1.
        expansion: how much wider a block is inside.

    References:
        Inverted residuals [sandler2018mobilenetv2]; strides and activation as in contrastive distillation
        [tian2020contrastive]: a ReLU that does not cut at 6.
    """
    return CifarMobileNetV2(width=width, expansion=expansion, num_classes=num_classes, in_channels=in_channels)


def mobilenet_v2_half(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """MobileNetV2 of half width for small images: the usual student of vgg13 and resnet50_cifar.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Inverted residuals [sandler2018mobilenetv2]; strides, activation and width as in contrastive distillation
        [tian2020contrastive]: a ReLU that does not cut at 6, six times wider inside, half as wide outside.
    """
    return CifarMobileNetV2(width=0.5, expansion=6, num_classes=num_classes, in_channels=in_channels)
