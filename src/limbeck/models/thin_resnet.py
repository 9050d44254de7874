"""The residual network of depth 50 with a quarter of its channels, for images of a usual size."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from limbeck.bounds import PositiveInt
from limbeck.models.cifar.initialisation import check_sizes, he_normal

STEM = 16
WIDTHS = (16, 32, 64, 128)
BLOCKS = (3, 4, 6, 3)


class QuarterResNet(nn.Module):
    """Torchvision's ResNet-50 with every number of channels divided by four; its layers have the same names.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    Raises:
        ModelError: a number of classes or channels that makes no network.
    """

    def __init__(self, *, num_classes: int, in_channels: int) -> None:
        super().__init__()
        check_sizes(num_classes, in_channels)
        self.conv1 = nn.Conv2d(in_channels, STEM, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        before = STEM
        for place, (width, blocks) in enumerate(zip(WIDTHS, BLOCKS, strict=True)):
            self.add_module(f"layer{place + 1}", _stage(before, width, blocks, stride=1 if place == 0 else 2))
            before = width * Bottleneck.expansion
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(before, num_classes)
        he_normal(self)

    def forward_features(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w) to the last map (n, 512, h / 32, w / 32)."""
        out = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for place in range(len(WIDTHS)):
            out = self.get_submodule(f"layer{place + 1}")(out)
        assert isinstance(out, Tensor)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w) to logits (n, num_classes)."""
        logits = self.fc(self.avgpool(self.forward_features(images)).flatten(1))
        assert isinstance(logits, Tensor)
        return logits


def _stage(before: int, width: int, blocks: int, *, stride: int) -> nn.Sequential:
    after = width * Bottleneck.expansion
    shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
    first = Bottleneck(before, width, stride, shortcut)
    return nn.Sequential(first, *(Bottleneck(after, width) for _ in range(blocks - 1)))


def quarter_resnet50(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """ResNet-50 with a quarter of the channels everywhere: the smallest body that classifiers taught in the paper.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Residual networks [he2016deep]; QR50 of [guo2021distilling], 66.3 % of ImageNet there.
    """
    return QuarterResNet(num_classes=num_classes, in_channels=in_channels)
