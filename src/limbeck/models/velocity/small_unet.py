"""A U-Net small enough for a CPU: two or three resolutions of residual blocks, attention at the lowest."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.bounds import Fraction, PositiveInt
from limbeck.errors import ModelError
from limbeck.models.velocity.embedding import Conditioning


class _Block(nn.Module):
    """Two convolutions with a residual; the conditioning scales and shifts between them."""

    def __init__(self, inputs: int, outputs: int, told: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(_groups(inputs), inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.tell = nn.Linear(told, 2 * outputs)
        self.norm2 = nn.GroupNorm(_groups(outputs), outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        _zero(self.conv2)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.tell(told)[:, :, None, None].chunk(2, dim=1)
        out = self.conv1(F.silu(self.norm1(x)))
        out = self.dropout(F.silu(self.norm2(out) * (1 + scale) + shift))
        result: Tensor = self.skip(x) + self.conv2(out)
        return result


class _Attention(nn.Module):
    """One head over all positions, written with products and a softmax so that it has forward derivatives too."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_groups(channels), channels)
        self.enter = nn.Conv2d(channels, 3 * channels, 1)
        self.leave = nn.Conv2d(channels, channels, 1)
        _zero(self.leave)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.enter(self.norm(x)).flatten(2).chunk(3, dim=1)
        weight = (query.transpose(1, 2) @ key * key.shape[1] ** -0.5).softmax(dim=2)
        result: Tensor = x + self.leave((value @ weight.transpose(1, 2)).view_as(x))
        return result


class SmallUnet(nn.Module):
    """See `small_unet`."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        *,
        width: int,
        multiples: tuple[int, ...],
        blocks: int,
        attention: bool,
        dropout: float,
        interval: bool,
    ) -> None:
        super().__init__()
        channels, height, breadth = image_shape
        halvings = 2 ** (len(multiples) - 1)
        if height % halvings or breadth % halvings:
            raise ModelError(
                f"images of {height} x {breadth} cannot be halved {len(multiples) - 1} times; "
                "give small_unet fewer multiples."
            )
        told = 4 * width
        self.conditioning = Conditioning(told, classes=classes, interval=interval)
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        kept, now = [width], width
        for level, multiple in enumerate(multiples):
            for _ in range(blocks):
                self.down.append(_Block(now, width * multiple, told, dropout))
                now = width * multiple
                kept.append(now)
            if level < len(multiples) - 1:
                self.shrink.append(nn.Conv2d(now, now, 3, stride=2, padding=1))
                kept.append(now)
        self.middle1 = _Block(now, now, told, dropout)
        self.attention = _Attention(now) if attention else nn.Identity()
        self.middle2 = _Block(now, now, told, dropout)
        for level, multiple in reversed(list(enumerate(multiples))):
            for _ in range(blocks + 1):
                self.up.append(_Block(now + kept.pop(), width * multiple, told, dropout))
                now = width * multiple
            if level:
                self.grow.append(nn.Conv2d(now, now, 3, padding=1))
        self.levels, self.blocks = len(multiples), blocks
        self.leave = nn.Sequential(
            nn.GroupNorm(_groups(now), now), nn.SiLU(), nn.Conv2d(now, channels, 3, padding=1)
        )

    def forward(
        self, x: Tensor, time: Tensor, labels: Tensor | None = None, interval: Tensor | None = None
    ) -> Tensor:
        """Images (n, c, h, w) and times (n,) to the shape of the images."""
        told = F.silu(self.conditioning(time, labels, interval))
        out = self.stem(x)
        kept = [out]
        down = iter(self.down)
        for level in range(self.levels):
            for _ in range(self.blocks):
                out = next(down)(out, told)
                kept.append(out)
            if level < self.levels - 1:
                out = self.shrink[level](out)
                kept.append(out)
        out = self.middle2(self.attention(self.middle1(out, told)), told)
        up = iter(self.up)
        for level in range(self.levels):
            for _ in range(self.blocks + 1):
                out = next(up)(torch.cat([out, kept.pop()], dim=1), told)
            if level < self.levels - 1:
                out = self.grow[level](F.interpolate(out, scale_factor=2, mode="nearest"))
        left: Tensor = self.leave(out)
        return left


def small_unet(
    *,
    image_shape: tuple[int, int, int],
    classes: int = 0,
    width: PositiveInt = 32,
    multiples: tuple[PositiveInt, ...] = (1, 2),
    blocks: PositiveInt = 1,
    attention: bool = True,
    dropout: Fraction = 0.0,
    interval: bool = False,
) -> nn.Module:
    """Residual blocks at two or three resolutions: for images of 8 to 32 pixels on a CPU.

    Args:
        image_shape: channels, height, width.
        classes: labels it is conditioned on; 0 for none.
        width: channels at the full resolution.
        multiples: channels at each resolution, in widths.
        blocks: residual blocks at each resolution.
        attention: over all positions of the lowest resolution.
        dropout: share of activations dropped in training.
        interval: build it for average velocities (MeanFlow).
    """
    return SmallUnet(
        image_shape,
        classes,
        width=width,
        multiples=tuple(multiples),
        blocks=blocks,
        attention=attention,
        dropout=dropout,
        interval=interval,
    )


def _groups(channels: int) -> int:
    return next(groups for groups in (8, 4, 2, 1) if channels % groups == 0)


def _zero(layer: nn.Conv2d) -> None:
    """Begin without any effect, so that a block is its residual at first."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
