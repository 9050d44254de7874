"""Plain networks of 3x3 convolutions for small images, in the depths that the distillation literature compares.

Five blocks with batch normalisation, halved in between, and one linear layer on the mean over positions, in place
of the three large ones that the networks for ImageNet have.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from limbeck.bounds import PositiveInt
from limbeck.models.cifar.initialisation import check_sizes, he_normal

WIDTHS = (64, 128, 256, 512, 512)


class Vgg(nn.Module):
    """Five blocks of convolutions; features are tapped at `stem`, `layer1` ... `layer4` and `avgpool`.

    `layer1.relu:input`, tapped, is the map before the last activation of the block.

    Args:
        convolutions: in each of the five blocks.
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    Raises:
        ModelError: a number of classes or channels that makes no network.
    """

    def __init__(
        self, *, convolutions: tuple[int, int, int, int, int], num_classes: int, in_channels: int
    ) -> None:
        super().__init__()
        check_sizes(num_classes, in_channels)
        self.stem = _block(in_channels, WIDTHS[0], convolutions[0])
        self.layer1 = _block(WIDTHS[0], WIDTHS[1], convolutions[1])
        self.layer2 = _block(WIDTHS[1], WIDTHS[2], convolutions[2])
        self.layer3 = _block(WIDTHS[2], WIDTHS[3], convolutions[3])
        self.layer4 = _block(WIDTHS[3], WIDTHS[4], convolutions[4])
        self.pool = nn.MaxPool2d(2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(WIDTHS[4], num_classes)
        he_normal(self)
        nn.init.normal_(self.fc.weight, 0.0, 0.01)
        nn.init.zeros_(self.fc.bias)

    def forward_features(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w), from 8 pixels on, to the last map (n, 512, h', w')."""
        out = self.layer1(self.pool(self.stem(images)))
        out = self.layer2(self.pool(out))
        out = self.layer3(self.pool(out))
        # Images of 32 pixels are 4 wide here and stay so; larger ones, as of 64 pixels, are halved once more.
        if out.shape[-1] > 4:
            out = self.pool(out)
        out = self.layer4(out)
        assert isinstance(out, Tensor)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w) to logits (n, num_classes)."""
        logits = self.fc(self.avgpool(self.forward_features(images)).flatten(1))
        assert isinstance(logits, Tensor)
        return logits


def _block(in_channels: int, out_channels: int, convolutions: int) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(1, convolutions + 1):
        last = i == convolutions
        layers[f"conv{i}"] = nn.Conv2d(in_channels if i == 1 else out_channels, out_channels, 3, 1, 1)
        layers[f"bn{i}"] = nn.BatchNorm2d(out_channels)
        layers["relu" if last else f"relu{i}"] = nn.ReLU()
    return nn.Sequential(layers)


def vgg8(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """VGG of depth 8 for small images, with batch normalisation: the usual student of vgg13.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Very deep networks [simonyan2015very]; one linear layer as in contrastive distillation
        [tian2020contrastive].
    """
    return Vgg(convolutions=(1, 1, 1, 1, 1), num_classes=num_classes, in_channels=in_channels)


def vgg11(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """VGG of depth 11 for small images, with batch normalisation: a middle-sized network.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Very deep networks [simonyan2015very]; one linear layer as in contrastive distillation
        [tian2020contrastive].
    """
    return Vgg(convolutions=(1, 1, 2, 2, 2), num_classes=num_classes, in_channels=in_channels)


def vgg13(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """VGG of depth 13 for small images, with batch normalisation: the usual teacher of vgg8.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Very deep networks [simonyan2015very]; one linear layer as in contrastive distillation
        [tian2020contrastive].
    """
    return Vgg(convolutions=(2, 2, 2, 2, 2), num_classes=num_classes, in_channels=in_channels)


def vgg16(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """VGG of depth 16 for small images, with batch normalisation: a large teacher.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Very deep networks [simonyan2015very]; one linear layer as in contrastive distillation
        [tian2020contrastive].
    """
    return Vgg(convolutions=(2, 2, 3, 3, 3), num_classes=num_classes, in_channels=in_channels)


def vgg19(*, num_classes: PositiveInt, in_channels: PositiveInt = 3) -> nn.Module:
    """VGG of depth 19 for small images, with batch normalisation: the largest teacher of its kind.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    References:
        Very deep networks [simonyan2015very]; one linear layer as in contrastive distillation
        [tian2020contrastive].
    """
    return Vgg(convolutions=(2, 2, 4, 4, 4), num_classes=num_classes, in_channels=in_channels)
