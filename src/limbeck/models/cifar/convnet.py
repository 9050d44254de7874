"""Plain networks of equal blocks for small images, on which dataset distillation is measured."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from torch import Tensor, nn

from limbeck.bounds import PositiveInt
from limbeck.errors import ModelError
from limbeck.models.cifar.initialisation import check_sizes

Norm = Literal["instance", "batch", "layer", "group", "none"]
Activation = Literal["relu", "leaky_relu", "sigmoid", "silu"]
Pooling = Literal["avg", "max", "none"]

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
}


class ConvNet(nn.Module):
    """Blocks of convolution, normalisation, activation and pooling; the linear layer sees every position.

    Features are tapped at `layer1` ... `layer<depth>`, before the last activation at `layer<i>.activation:input`,
    before pooling at `layer<i>.activation`, and as a vector at `flatten`.

    Args:
        depth: blocks.
        width: channels of every block.
        norm: "instance" has one group a channel, weights, and no running statistics.
        activation: behind the normalisation.
        pooling: 2x2 with stride 2, or none.
        image_size: side of the images, which the linear layer depends on.
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.

    Raises:
        ModelError: more halvings than the images have pixels, or a width that four groups do not divide.
    """

    def __init__(
        self,
        *,
        depth: int,
        width: int,
        norm: Norm,
        activation: Activation,
        pooling: Pooling,
        image_size: int,
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        check_sizes(num_classes, in_channels)
        if depth < 1:
            raise ModelError(f"a ConvNet has at least one block, not {depth}.")
        # Grey images of 28 pixels are padded to 32 by the first convolution, as in the programs reported on.
        padding = 3 if (in_channels, image_size) == (1, 28) else 1
        self.image_size = image_size
        self.depth = depth
        side, channels = image_size + 2 * (padding - 1), in_channels
        for i in range(1, depth + 1):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            layers["conv"] = nn.Conv2d(channels, width, 3, 1, padding)
            normalisation = _norm(norm, width, side)
            if normalisation is not None:
                layers["norm"] = normalisation
            layers["activation"] = _ACTIVATIONS[activation]()
            if pooling != "none":
                layers["pool"] = nn.AvgPool2d(2) if pooling == "avg" else nn.MaxPool2d(2)
                side //= 2
            self.add_module(f"layer{i}", nn.Sequential(layers))
            channels, padding = width, 1
            if side < 1:
                raise ModelError(
                    f"{depth} halvings leave nothing of {image_size} pixels: at most {i - 1} blocks, or "
                    "pooling: none."
                )
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(width * side * side, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w) to the last map (n, width, h', w').

        Raises:
            ModelError: images of another size than the network was built for.
        """
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise ModelError(
                f"this ConvNet was built for images of {self.image_size} pixels, not {tuple(images.shape[-2:])}: "
                f"set image_size: {images.shape[-1]}."
            )
        out = images
        for i in range(1, self.depth + 1):
            out = self.get_submodule(f"layer{i}")(out)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (n, in_channels, h, w) to logits (n, num_classes)."""
        logits = self.fc(self.flatten(self.forward_features(images)))
        assert isinstance(logits, Tensor)
        return logits


def _norm(norm: Norm, width: int, side: int) -> nn.Module | None:
    if norm == "none":
        return None
    if norm == "batch":
        return nn.BatchNorm2d(width)
    if norm == "layer":
        return nn.LayerNorm([width, side, side])
    if norm == "group" and width % 4:
        raise ModelError(f"group normalisation has 4 groups, which a width of {width} cannot be cut into.")
    return nn.GroupNorm(width if norm == "instance" else 4, width)


def convnet(
    *,
    num_classes: PositiveInt,
    in_channels: PositiveInt = 3,
    depth: PositiveInt = 3,
    width: PositiveInt = 128,
    norm: Literal["instance", "batch", "layer", "group", "none"] = "instance",
    activation: Literal["relu", "leaky_relu", "sigmoid", "silu"] = "relu",
    pooling: Literal["avg", "max", "none"] = "avg",
    image_size: PositiveInt = 32,
) -> nn.Module:
    """ConvNet of any depth for small images: the network that dataset distillation learns on.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.
        depth: blocks; each halves the images.
        width: channels of every block.
        norm: "instance" (no running statistics: training and evaluation agree), "batch", "layer", "group" of four
            groups, or "none".
        activation: behind the normalisation.
        pooling: 2x2 means or maxima, or none.
        image_size: side of the images.

    References:
        Few-shot learning without forgetting [gidaris2018dynamic]; as in dataset condensation [zhao2021dataset].
    """
    return ConvNet(
        depth=depth,
        width=width,
        norm=norm,
        activation=activation,
        pooling=pooling,
        image_size=image_size,
        num_classes=num_classes,
        in_channels=in_channels,
    )


def convnet3(
    *,
    num_classes: PositiveInt,
    in_channels: PositiveInt = 3,
    width: PositiveInt = 128,
    norm: Literal["instance", "batch", "layer", "group", "none"] = "instance",
    activation: Literal["relu", "leaky_relu", "sigmoid", "silu"] = "relu",
    pooling: Literal["avg", "max", "none"] = "avg",
    image_size: PositiveInt = 32,
) -> nn.Module:
    """ConvNet of three blocks: dataset distillation's network for images of 32 pixels.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.
        width: channels of every block.
        norm: "instance" (no running statistics: training and evaluation agree), "batch", "layer", "group" of four
            groups, or "none".
        activation: behind the normalisation.
        pooling: 2x2 means or maxima, or none.
        image_size: side of the images.

    References:
        Few-shot learning without forgetting [gidaris2018dynamic]; as in dataset condensation [zhao2021dataset].
    """
    return ConvNet(
        depth=3,
        width=width,
        norm=norm,
        activation=activation,
        pooling=pooling,
        image_size=image_size,
        num_classes=num_classes,
        in_channels=in_channels,
    )


def convnet4(
    *,
    num_classes: PositiveInt,
    in_channels: PositiveInt = 3,
    width: PositiveInt = 128,
    norm: Literal["instance", "batch", "layer", "group", "none"] = "instance",
    activation: Literal["relu", "leaky_relu", "sigmoid", "silu"] = "relu",
    pooling: Literal["avg", "max", "none"] = "avg",
    image_size: PositiveInt = 64,
) -> nn.Module:
    """ConvNet of four blocks: dataset distillation's network for images of 64 pixels.

    Args:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.
        width: channels of every block.
        norm: "instance" (no running statistics: training and evaluation agree), "batch", "layer", "group" of four
            groups, or "none".
        activation: behind the normalisation.
        pooling: 2x2 means or maxima, or none.
        image_size: side of the images.

    References:
        Few-shot learning without forgetting [gidaris2018dynamic]; as in dataset condensation [zhao2021dataset].
    """
    return ConvNet(
        depth=4,
        width=width,
        norm=norm,
        activation=activation,
        pooling=pooling,
        image_size=image_size,
        num_classes=num_classes,
        in_channels=in_channels,
    )
