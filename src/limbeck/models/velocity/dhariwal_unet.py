"""ADM: the U-Net of Dhariwal and Nichol [dhariwal2021diffusion] as EDM trains it [karras2022elucidating]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.bounds import Fraction, NonNegativeInt, PositiveInt
from limbeck.errors import ModelError
from limbeck.models.velocity.edm_blocks import (
    PositionalEmbedding,
    UNetBlock,
    augment_or_zero,
    class_rows,
    group_norm,
    interval_or_zero,
    require_images,
    sides,
    square_side,
    widened,
)


class DhariwalUNet(nn.Module):
    """The U-Net behind `adm`; its state dict is that of the released checkpoints.

    Args:
        resolution: side of the images.
        in_channels: of the images.
        out_channels: of what is predicted.
        classes: labels it is conditioned on; 0 for none.
        augment_dim: numbers that say how an image was augmented; 0 for none.
        width: channels at the full resolution, before the multiples.
        multiples: channels at each resolution, in widths.
        channel_mult_emb: width of the embedding, in widths.
        blocks: residual blocks at each resolution; one more on the way up.
        attention: resolutions with attention; the lowest has one in its middle anyway.
        head_channels: of a head; where there are fewer channels, there is no attention.
        dropout: share of activations dropped in training.
        interval: for average velocities.

    Raises:
        ModelError: a resolution that cannot be halved as often, or channels that cannot be grouped.
    """

    def __init__(
        self,
        *,
        resolution: int,
        in_channels: int,
        out_channels: int,
        classes: int = 0,
        augment_dim: int = 0,
        width: int = 192,
        multiples: tuple[int, ...] = (1, 2, 3, 4),
        channel_mult_emb: int = 4,
        blocks: int = 3,
        attention: tuple[int, ...] = (32, 16, 8),
        head_channels: int = 64,
        dropout: float = 0.10,
        interval: bool = False,
    ) -> None:
        super().__init__()
        if width % 2:
            raise ModelError(f"width has to be even, half of it sines and half cosines; got {width}.")
        self.resolution, self.in_channels, self.blocks = resolution, in_channels, blocks
        self.classes, self.augment_dim, self.interval = classes, augment_dim, interval
        self.sides = sides(resolution, len(multiples))
        told = width * channel_mult_emb
        self.map_noise = PositionalEmbedding(width)
        self.map_augment = nn.Linear(augment_dim, width, bias=False) if augment_dim else None
        self.map_interval = nn.Linear(width, width) if interval else None
        self.map_layer0 = nn.Linear(width, told)
        self.map_layer1 = nn.Linear(told, told)
        self.map_label = nn.Linear(classes, told, bias=False) if classes else None
        widths = tuple(width * multiple for multiple in multiples)

        def make(inputs: int, outputs: int, *, attends: bool = False, **given: Any) -> UNetBlock:
            heads = outputs // head_channels if attends else 0
            return UNetBlock(inputs, outputs, told=told, heads=heads, dropout=dropout, **given)

        self.enc, kept = self._encoder(make, width, widths, attention)
        self.dec = self._decoder(make, widths, kept, attention)
        self.out_norm = group_norm(widths[0], 1e-5)
        self.out_conv = nn.Conv2d(widths[0], out_channels, 3, padding=1)
        self._begin()

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        labels: Tensor | None = None,
        interval: Tensor | None = None,
        *,
        augment: Tensor | None = None,
    ) -> Tensor:
        """Images (n, c, s, s) and times (n,) to what is predicted, (n, out_channels, s, s).

        Args:
            x: (n, in_channels, resolution, resolution).
            time: (n,); ln(sigma)/4 under EDM's preconditioning.
            labels: (n,) int64, -1 for no class; None for none at all.
            interval: (n,), t - r, where the network was built for it; 0 unless given.
            augment: (n, augment_dim); zeros, which say "not augmented", unless given.

        Raises:
            ModelError: labels, intervals or augmentations that the network was not built for.
            ShapeError: images that it was not built for.
        """
        require_images(x, self.in_channels, self.resolution)
        told = self._embedding(time, labels, interval, augment)
        kept: list[Tensor] = []
        for name, part in self.enc.items():
            x = part(x) if name.endswith("_conv") else part(x, told)
            kept.append(x)
        for name, part in self.dec.items():
            if "_block" in name:
                x = torch.cat([x, kept.pop()], dim=1)
            x = part(x, told)
        out: Tensor = self.out_conv(F.silu(self.out_norm(x)))
        return out

    def _encoder(
        self, make: Callable[..., UNetBlock], now: int, widths: tuple[int, ...], attention: tuple[int, ...]
    ) -> tuple[nn.ModuleDict, list[int]]:
        enc, kept = nn.ModuleDict(), []
        for level, (side, outputs) in enumerate(zip(self.sides, widths, strict=True)):
            at = f"{side}x{side}"
            if level == 0:
                # As wide as the first resolution, where DDPM++ is as wide as its width.
                now = outputs
                enc[f"{at}_conv"] = nn.Conv2d(self.in_channels, now, 3, padding=1)
            else:
                enc[f"{at}_down"] = make(now, now, direction="down")
            kept.append(now)
            for number in range(self.blocks):
                enc[f"{at}_block{number}"] = make(now, outputs, attends=side in attention)
                now = outputs
                kept.append(now)
        return enc, kept

    def _decoder(
        self, make: Callable[..., UNetBlock], widths: tuple[int, ...], kept: list[int], attention: tuple[int, ...]
    ) -> nn.ModuleDict:
        dec, now, kept = nn.ModuleDict(), widths[-1], list(kept)
        for side, outputs in zip(reversed(self.sides), reversed(widths), strict=True):
            at = f"{side}x{side}"
            if side == self.sides[-1]:
                dec[f"{at}_in0"] = make(now, now, attends=True)
                dec[f"{at}_in1"] = make(now, now)
            else:
                dec[f"{at}_up"] = make(now, now, direction="up")
            for number in range(self.blocks + 1):
                dec[f"{at}_block{number}"] = make(now + kept.pop(), outputs, attends=side in attention)
                now = outputs
        return dec

    def _embedding(
        self, time: Tensor, labels: Tensor | None, interval: Tensor | None, augment: Tensor | None
    ) -> Tensor:
        told: Tensor = self.map_noise(time)
        augment = augment_or_zero(augment, self.augment_dim, told)
        if self.map_augment is not None and augment is not None:
            told = told + widened(self.map_augment, augment)
        length = interval_or_zero(interval, time, known=self.interval)
        if self.map_interval is not None and length is not None:
            told = told + widened(self.map_interval, self.map_noise(length))
        told = widened(self.map_layer1, F.silu(widened(self.map_layer0, told)))
        rows = class_rows(labels, self.classes, told)
        if self.map_label is not None and rows is not None:
            told = told + widened(self.map_label, rows)
        return F.silu(told)

    def _begin(self) -> None:
        """Torch's uniform weights; zero where a residual or the output begins, and for extra conditions."""
        for name, module in self.named_modules():
            part = name.rsplit(".", 1)[-1]
            if part in ("conv1", "proj", "out_conv", "map_augment", "map_interval"):
                assert isinstance(module, nn.Linear | nn.Conv2d)
                nn.init.zeros_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif part == "map_label":
                assert isinstance(module, nn.Linear)
                # A one-hot label has one entry: unit variance, however many classes there are.
                nn.init.normal_(module.weight)


def adm(
    *,
    image_shape: tuple[int, int, int],
    classes: int = 0,
    width: PositiveInt = 192,
    multiples: tuple[PositiveInt, ...] = (1, 2, 3, 4),
    blocks: PositiveInt = 3,
    attention: tuple[PositiveInt, ...] = (32, 16, 8),
    head_channels: PositiveInt = 64,
    dropout: Fraction = 0.10,
    augment_dim: NonNegativeInt = 0,
    interval: bool = False,
) -> nn.Module:
    """ADM: a wide U-Net whose embedding scales and shifts, with many heads of attention; for ImageNet.

    Defaults are EDM's for ImageNet 64: 295.9 million weights with 1,000 classes.

    Args:
        image_shape: channels, height, width; square, its side divisible by two once for each multiple but one.
        classes: labels it is conditioned on; 0 for none.
        width: channels at the full resolution, before the multiples.
        multiples: channels at each resolution, in widths.
        blocks: residual blocks at each resolution.
        attention: resolutions with attention; those that the network does not have are passed over.
        head_channels: of a head of attention; the middle has no attention where it has fewer channels.
        dropout: share of activations dropped in training.
        augment_dim: numbers that say how an image was augmented, zeros unless given; 0 in EDM's checkpoint.
        interval: build it for average velocities (MeanFlow).

    Raises:
        ModelError: images that are not square or cannot be halved as often, or too few channels for a head of
            attention.

    Example:
        >>> net = adm(image_shape=(1, 8, 8), classes=3, width=8, multiples=(1, 2), blocks=1, head_channels=8)
        >>> net(torch.zeros(2, 1, 8, 8), torch.zeros(2), torch.tensor([2, -1])).shape
        torch.Size([2, 1, 8, 8])

    References:
        Dhariwal and Nichol 2021 [dhariwal2021diffusion]; Karras et al. 2022 [karras2022elucidating], table 7 and
        appendix F.
    """
    resolution = square_side(image_shape, "adm")
    for side, multiple in zip(sides(resolution, len(multiples)), multiples, strict=True):
        if side in attention and width * multiple < head_channels:
            raise ModelError(
                f"adm has {width * multiple} channels at {side} x {side}, too few for a head of attention of "
                f"{head_channels}; give head_channels: {width * multiple}, or leave {side} out of attention."
            )
    return DhariwalUNet(
        resolution=resolution,
        in_channels=image_shape[0],
        out_channels=image_shape[0],
        classes=classes,
        augment_dim=augment_dim,
        width=width,
        multiples=multiples,
        blocks=blocks,
        attention=attention,
        head_channels=head_channels,
        dropout=dropout,
        interval=interval,
    )
