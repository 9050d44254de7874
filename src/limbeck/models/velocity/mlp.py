"""A residual network for points and for very small images."""

from __future__ import annotations

import math

from torch import Tensor, nn

from limbeck.bounds import Fraction, PositiveInt
from limbeck.models.velocity.embedding import Conditioning


class Mlp(nn.Module):
    """Layers on the flattened image, each told the time.

    Args:
        image_shape: channels, height, width.
        classes: 0 for an unconditional network.
        width: of the layers.
        depth: how many residual layers.
        dropout: share of activations dropped in training.
        interval: for average velocities.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        *,
        width: int,
        depth: int,
        dropout: float,
        interval: bool,
    ) -> None:
        super().__init__()
        size = math.prod(image_shape)
        self.conditioning = Conditioning(width, classes=classes, interval=interval)
        self.enter = nn.Linear(size, width)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, width)) for _ in range(depth)
        )
        self.leave = nn.Sequential(nn.SiLU(), nn.Linear(width, size))

    def forward(
        self, x: Tensor, time: Tensor, labels: Tensor | None = None, interval: Tensor | None = None
    ) -> Tensor:
        """Images (n, c, h, w) and times (n,) to the shape of the images."""
        told = self.conditioning(time, labels, interval)
        out = self.enter(x.flatten(1))
        for layer in self.layers:
            out = out + layer(out + told)
        left: Tensor = self.leave(out)
        return left.view_as(x)


def mlp(
    *,
    image_shape: tuple[int, int, int],
    classes: int = 0,
    width: PositiveInt = 64,
    depth: PositiveInt = 3,
    dropout: Fraction = 0.0,
    interval: bool = False,
) -> nn.Module:
    """Residual layers on the flattened image: for points in the plane and images of a few hundred values.

    Args:
        image_shape: channels, height, width; points are (2, 1, 1).
        classes: labels it is conditioned on; 0 for none.
        width: of the layers; 64 learns targets in the plane.
        depth: residual layers.
        dropout: share of activations dropped in training.
        interval: build it for average velocities (MeanFlow).
    """
    return Mlp(image_shape, classes, width=width, depth=depth, dropout=dropout, interval=interval)
