"""Wide residual networks for small images: normalise and activate first, convolve afterwards.

Three stages behind a 3x3 stem of 16 channels; a depth of 6n + 4 has n blocks a stage, 16, 32 and 64 channels wide
times a factor. The depth counts the stem, the two convolutions of every block and the three that change the width.
"""

from __future__ import annotations

from torch import Tensor, nn

from limbeck.bounds import PositiveInt
from limbeck.errors import ModelError
from limbeck.models.cifar.initialisation import check_sizes, he_normal

STEM = 16


class PreactivatedBlock(nn.Module):
    """Two 3x3 convolutions, each behind normalisation and activation, around a shortcut.

    Nothing is activated behind the sum. Where the width changes, the shortcut starts behind the first activation.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.shortcut: nn.Module | None = None
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map (n, in_channels, h, w) to (n, out_channels, h / stride, w / stride)."""
        active = self.relu1(self.bn1(x))
        out = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        out = out + (x if self.shortcut is None else self.shortcut(active))
        assert isinstance(out, Tensor)
        return out


class CifarWideResNet(nn.Module):
    """A wide residual network of three stages.

    Features are tapped at `layer1`, `layer2`, `layer3` (sums that nothing has activated yet) and `avgpool`. The
    next layer normalises and activates them: `layer2.0.relu1:input`, `layer3.0.relu1:input` and `relu:input`.

    Args:
        depth: 6n + 4.
        factor: on the widths 16, 32, 64.
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    Raises:
        ModelError: a depth, a factor or a number of classes that makes no network.
    """

    def __init__(self, *, depth: int, factor: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6 or factor < 1:
            raise ModelError(
                f"a wide ResNet has a depth of 6n + 4 (10, 16, 22, ...) and a factor of at least 1, not {depth} "
                f"and {factor}."
            )
        check_sizes(num_classes, in_channels)
        blocks = (depth - 4) // 6
        widths = (STEM, 16 * factor, 32 * factor, 64 * factor)
        self.conv1 = nn.Conv2d(in_channels, STEM, 3, 1, 1, bias=False)
        self.layer1 = _stage(widths[0], widths[1], blocks, stride=1)
        self.layer2 = _stage(widths[1], widths[2], blocks, stride=2)
        self.layer3 = _stage(widths[2], widths[3], blocks, stride=2)
        self.bn = nn.BatchNorm2d(widths[3])
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[3], num_classes)
        he_normal(self)
        nn.init.zeros_(self.fc.bias)

    def forward_features(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w) to the last map, activated (n, 64 * factor, h / 4, w / 4)."""
        out = self.layer3(self.layer2(self.layer1(self.conv1(images))))
        out = self.relu(self.bn(out))
        assert isinstance(out, Tensor)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w) to logits (n, num_classes)."""
        logits = self.fc(self.avgpool(self.forward_features(images)).flatten(1))
        assert isinstance(logits, Tensor)
        return logits


def _stage(in_channels: int, out_channels: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = PreactivatedBlock(in_channels, out_channels, stride)
    return nn.Sequential(first, *(PreactivatedBlock(out_channels, out_channels, 1) for _ in range(blocks - 1)))


def wrn_16_1(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """Wide ResNet of depth 16 for small images, 16, 32 and 64 channels: a very small student.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Wide residual networks [zagoruyko2016wide]; without dropout as in contrastive distillation
        [tian2020contrastive].
    """
    return CifarWideResNet(depth=16, factor=1, num_classes=num_classes, in_channels=in_channels)


def wrn_16_2(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """Wide ResNet of depth 16 for small images, 32, 64 and 128 channels: the usual student of wrn_40_2.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Wide residual networks [zagoruyko2016wide]; without dropout as in contrastive distillation
        [tian2020contrastive].
    """
    return CifarWideResNet(depth=16, factor=2, num_classes=num_classes, in_channels=in_channels)


def wrn_40_1(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """Wide ResNet of depth 40 for small images, 16, 32 and 64 channels: a deep and narrow student of wrn_40_2.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Wide residual networks [zagoruyko2016wide]; without dropout as in contrastive distillation
        [tian2020contrastive].
    """
    return CifarWideResNet(depth=40, factor=1, num_classes=num_classes, in_channels=in_channels)


def wrn_40_2(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """Wide ResNet of depth 40 for small images, 32, 64 and 128 channels: the usual teacher.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Wide residual networks [zagoruyko2016wide]; without dropout as in contrastive distillation
        [tian2020contrastive].
    """
    return CifarWideResNet(depth=40, factor=2, num_classes=num_classes, in_channels=in_channels)
