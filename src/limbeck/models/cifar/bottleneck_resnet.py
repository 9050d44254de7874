"""The residual network of depth 50 made for small images: a 3x3 stem, no pooling behind it, four stages."""

from __future__ import annotations

from torch import Tensor, nn

from limbeck.bounds import PositiveInt
from limbeck.models.cifar.initialisation import check_sizes, he_normal

STEM = 64
WIDTHS = (64, 128, 256, 512)
BLOCKS = (3, 4, 6, 3)
EXPANSION = 4


class Bottleneck(nn.Module):
    """Narrow, filter, widen fourfold, around a shortcut; the stride is in the 3x3 convolution.

    `relu:input`, tapped, is the sum before the last activation.
    """

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = width * EXPANSION
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Feature map (n, in_channels, h, w) to (n, 4 * width, h / stride, w / stride)."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.relu(self.bn3(self.conv3(out)) + self.downsample(x))
        assert isinstance(out, Tensor)
        return out


class CifarBottleneckResNet(nn.Module):
    """Four stages of bottleneck blocks; features are tapped at `layer1` ... `layer4` and `avgpool`.

    Args:
        blocks: in each of the four stages.
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    Raises:
        ModelError: a number of classes or channels that makes no network.
    """

    def __init__(self, *, blocks: tuple[int, int, int, int], num_classes: int, in_channels: int) -> None:
        super().__init__()
        check_sizes(num_classes, in_channels)
        self.conv1 = nn.Conv2d(in_channels, STEM, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.relu = nn.ReLU()
        self.layer1 = _stage(STEM, WIDTHS[0], blocks[0], stride=1)
        self.layer2 = _stage(WIDTHS[0] * EXPANSION, WIDTHS[1], blocks[1], stride=2)
        self.layer3 = _stage(WIDTHS[1] * EXPANSION, WIDTHS[2], blocks[2], stride=2)
        self.layer4 = _stage(WIDTHS[2] * EXPANSION, WIDTHS[3], blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(WIDTHS[3] * EXPANSION, num_classes)
        he_normal(self)

    def forward_features(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w), from 8 pixels on, to the last map (n, 2048, h / 8, w / 8)."""
        out = self.relu(self.bn1(self.conv1(images)))
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        assert isinstance(out, Tensor)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w) to logits (n, num_classes)."""
        logits = self.fc(self.avgpool(self.forward_features(images)).flatten(1))
        assert isinstance(logits, Tensor)
        return logits


def _stage(in_channels: int, width: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = Bottleneck(in_channels, width, stride)
    return nn.Sequential(first, *(Bottleneck(width * EXPANSION, width, 1) for _ in range(blocks - 1)))


def resnet50_cifar(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """ResNet of depth 50 for small images: the usual teacher of mobilenet_v2_half and vgg8.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Residual networks [he2016deep]; the stem as in contrastive distillation [tian2020contrastive].
    """
    return CifarBottleneckResNet(blocks=BLOCKS, num_classes=num_classes, in_channels=in_channels)
