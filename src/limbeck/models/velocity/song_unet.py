"""DDPM++ and NCSN++: the U-Nets of Song et al. [song2021score] as EDM trains them [karras2022elucidating]."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.bounds import Fraction, NonNegativeInt, PositiveInt
from limbeck.errors import ModelError
from limbeck.models.velocity.edm_blocks import (
    FourierEmbedding,
    PositionalEmbedding,
    ResampledConv,
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

_EPS = 1e-6
_NEARLY_ZERO = 1e-5


class SongUNet(nn.Module):
    """The U-Net behind `ddpmpp` and `ncsnpp`; its state dict is that of the released checkpoints.

    Args:
        resolution: side of the images.
        in_channels: of the images.
        out_channels: of what is predicted.
        classes: labels it is conditioned on; 0 for none.
        augment_dim: numbers that say how an image was augmented; 0 for none.
        width: channels at the full resolution, before the multiples.
        multiples: channels at each resolution, in widths.
        channel_mult_emb: width of the embedding, in widths.
        channel_mult_noise: width of the embedding of the time before its layers, in widths.
        blocks: residual blocks at each resolution; one more on the way up.
        attention: resolutions with attention; the lowest has one in its middle anyway.
        dropout: share of activations dropped in training.
        embedding: of the time: fixed frequencies, or random ones that are kept with the weights.
        encoder: "skip" and "residual" show smaller versions of the image to each resolution.
        decoder: "skip" sums predictions of all resolutions.
        resample_filter: taps of the filter between resolutions.
        skip_scale: what sums with a residual are multiplied by.
        adaptive_scale: the embedding scales and shifts features; without, it is added.
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
        width: int = 128,
        multiples: tuple[int, ...] = (1, 2, 2, 2),
        channel_mult_emb: int = 4,
        channel_mult_noise: int = 1,
        blocks: int = 4,
        attention: tuple[int, ...] = (16,),
        dropout: float = 0.10,
        embedding: Literal["positional", "fourier"] = "positional",
        encoder: Literal["standard", "skip", "residual"] = "standard",
        decoder: Literal["standard", "skip"] = "standard",
        resample_filter: tuple[int, ...] = (1, 1),
        skip_scale: float = math.sqrt(0.5),
        adaptive_scale: bool = False,
        interval: bool = False,
    ) -> None:
        super().__init__()
        if width % 2:
            raise ModelError(f"width has to be even, half of it sines and half cosines; got {width}.")
        self.resolution, self.in_channels = resolution, in_channels
        self.classes, self.augment_dim, self.interval = classes, augment_dim, interval
        self.encoder, self.decoder, self.blocks = encoder, decoder, blocks
        self.sides = sides(resolution, len(multiples))
        told, noise = width * channel_mult_emb, width * channel_mult_noise
        self.map_noise = (
            PositionalEmbedding(noise, endpoint=True) if embedding == "positional" else FourierEmbedding(noise)
        )
        self.map_label = nn.Linear(classes, noise) if classes else None
        self.map_augment = nn.Linear(augment_dim, noise, bias=False) if augment_dim else None
        self.map_interval = nn.Linear(noise, noise) if interval else None
        self.embed_interval = PositionalEmbedding(noise, endpoint=True)
        self.map_layer0 = nn.Linear(noise, told)
        self.map_layer1 = nn.Linear(told, told)

        make = partial(
            UNetBlock,
            told=told,
            taps=resample_filter,
            resample_proj=True,
            dropout=dropout,
            skip_scale=skip_scale,
            adaptive_scale=adaptive_scale,
            eps=_EPS,
        )
        widths = tuple(width * multiple for multiple in multiples)
        self.enc, kept = self._encoder(make, width, widths, attention, resample_filter)
        self.dec = self._decoder(make, widths, kept, attention, resample_filter, out_channels)
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
        out, kept = self._encode(x, told)
        return self._decode(out, kept, told)

    def _encoder(
        self,
        make: Callable[..., UNetBlock],
        now: int,
        widths: tuple[int, ...],
        attention: tuple[int, ...],
        taps: tuple[int, ...],
    ) -> tuple[nn.ModuleDict, list[int]]:
        enc, shown, kept = nn.ModuleDict(), self.in_channels, []
        for level, (side, outputs) in enumerate(zip(self.sides, widths, strict=True)):
            at = f"{side}x{side}"
            if level == 0:
                enc[f"{at}_conv"] = nn.Conv2d(self.in_channels, now, 3, padding=1)
            else:
                enc[f"{at}_down"] = make(now, now, direction="down")
                if self.encoder == "skip":
                    enc[f"{at}_aux_down"] = ResampledConv(shown, shown, kernel=0, direction="down", taps=taps)
                    enc[f"{at}_aux_skip"] = nn.Conv2d(shown, now, 1)
                elif self.encoder == "residual":
                    enc[f"{at}_aux_residual"] = ResampledConv(
                        shown, now, kernel=3, direction="down", taps=taps, filter_last=True
                    )
                    shown = now
            kept.append(now)
            for number in range(self.blocks):
                enc[f"{at}_block{number}"] = make(now, outputs, heads=int(side in attention))
                now = outputs
                kept.append(now)
        return enc, kept

    def _decoder(
        self,
        make: Callable[..., UNetBlock],
        widths: tuple[int, ...],
        kept: list[int],
        attention: tuple[int, ...],
        taps: tuple[int, ...],
        channels: int,
    ) -> nn.ModuleDict:
        dec, now, kept = nn.ModuleDict(), widths[-1], list(kept)
        for side, outputs in zip(reversed(self.sides), reversed(widths), strict=True):
            at, lowest = f"{side}x{side}", side == self.sides[-1]
            if lowest:
                dec[f"{at}_in0"] = make(now, now, heads=1)
                dec[f"{at}_in1"] = make(now, now)
            else:
                dec[f"{at}_up"] = make(now, now, direction="up")
            for number in range(self.blocks + 1):
                # On the way up, attention comes once, after the last block.
                heads = int(number == self.blocks and side in attention)
                dec[f"{at}_block{number}"] = make(now + kept.pop(), outputs, heads=heads)
                now = outputs
            if self.decoder == "skip" or side == self.sides[0]:
                if self.decoder == "skip" and not lowest:
                    dec[f"{at}_aux_up"] = ResampledConv(channels, channels, kernel=0, direction="up", taps=taps)
                dec[f"{at}_aux_norm"] = group_norm(now, _EPS)
                dec[f"{at}_aux_conv"] = nn.Conv2d(now, channels, 3, padding=1)
        return dec

    def _embedding(
        self, time: Tensor, labels: Tensor | None, interval: Tensor | None, augment: Tensor | None
    ) -> Tensor:
        # Sines before cosines, as in the networks that these descend from.
        cosines, sines = self.map_noise(time).chunk(2, dim=1)
        told = torch.cat([sines, cosines], dim=1)
        rows = class_rows(labels, self.classes, told)
        if self.map_label is not None and rows is not None:
            told = told + widened(self.map_label, rows * math.sqrt(self.classes))
        augment = augment_or_zero(augment, self.augment_dim, told)
        if self.map_augment is not None and augment is not None:
            told = told + widened(self.map_augment, augment)
        length = interval_or_zero(interval, time, known=self.interval)
        if self.map_interval is not None and length is not None:
            told = told + widened(self.map_interval, self.embed_interval(length))
        told = F.silu(widened(self.map_layer0, told))
        return F.silu(widened(self.map_layer1, told))

    def _encode(self, x: Tensor, told: Tensor) -> tuple[Tensor, list[Tensor]]:
        shown, kept = x, []
        for level, side in enumerate(self.sides):
            at = f"{side}x{side}"
            if level == 0:
                x = self.enc[f"{at}_conv"](x)
            else:
                x = self.enc[f"{at}_down"](x, told)
                if self.encoder == "skip":
                    shown = self.enc[f"{at}_aux_down"](shown)
                    x = x + self.enc[f"{at}_aux_skip"](shown)
                elif self.encoder == "residual":
                    x = shown = (x + self.enc[f"{at}_aux_residual"](shown)) * math.sqrt(0.5)
            kept.append(x)
            for number in range(self.blocks):
                x = self.enc[f"{at}_block{number}"](x, told)
                kept.append(x)
        return x, kept

    def _decode(self, x: Tensor, kept: list[Tensor], told: Tensor) -> Tensor:
        made: Tensor | None = None
        for side in reversed(self.sides):
            at = f"{side}x{side}"
            if side == self.sides[-1]:
                x = self.dec[f"{at}_in1"](self.dec[f"{at}_in0"](x, told), told)
            else:
                x = self.dec[f"{at}_up"](x, told)
            for number in range(self.blocks + 1):
                x = self.dec[f"{at}_block{number}"](torch.cat([x, kept.pop()], dim=1), told)
            if f"{at}_aux_conv" in self.dec:
                more = self.dec[f"{at}_aux_conv"](F.silu(self.dec[f"{at}_aux_norm"](x)))
                made = more if made is None else self.dec[f"{at}_aux_up"](made) + more
        assert made is not None, "the first resolution always predicts"
        return made

    def _begin(self) -> None:
        """Uniform weights of Glorot; nearly zero where a residual or the output begins, biases at zero."""
        for name, module in self.named_modules():
            if not isinstance(module, nn.Linear | nn.Conv2d | ResampledConv) or module.weight is None:
                continue
            part = name.rsplit(".", 1)[-1]
            gain = 1.0
            if part in ("conv1", "proj") or part.endswith("aux_conv"):
                gain = _NEARLY_ZERO
            elif part == "qkv":
                gain = math.sqrt(0.2)
            elif part == "map_interval":
                gain = 0.0
            nn.init.xavier_uniform_(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def ddpmpp(
    *,
    image_shape: tuple[int, int, int],
    classes: int = 0,
    width: PositiveInt = 128,
    multiples: tuple[PositiveInt, ...] = (2, 2, 2),
    blocks: PositiveInt = 4,
    attention: tuple[PositiveInt, ...] = (16,),
    dropout: Fraction = 0.13,
    augment_dim: NonNegativeInt = 9,
    interval: bool = False,
) -> nn.Module:
    """DDPM++: a plain U-Net that is told the time in fixed frequencies.

    Defaults are EDM's for CIFAR-10: 55.7 million weights. For 64 x 64 it takes multiples (1, 2, 2, 2): 61.8
    million.

    Args:
        image_shape: channels, height, width; square, its side divisible by two once for each multiple but one.
        classes: labels it is conditioned on; 0 for none.
        width: channels at the full resolution, before the multiples.
        multiples: channels at each resolution, in widths.
        blocks: residual blocks at each resolution.
        attention: resolutions with attention; those that the network does not have are passed over.
        dropout: share of activations dropped in training; EDM takes 0.05 for 64 x 64 faces, 0.25 for animals.
        augment_dim: numbers that say how an image was augmented, zeros unless given; 9 in EDM's checkpoints.
        interval: build it for average velocities (MeanFlow).

    Raises:
        ModelError: images that are not square or cannot be halved as often.

    Example:
        >>> net = ddpmpp(image_shape=(1, 8, 8), width=8, multiples=(1, 2), blocks=1)
        >>> net(torch.zeros(2, 1, 8, 8), torch.zeros(2)).shape
        torch.Size([2, 1, 8, 8])

    References:
        Song et al. 2021 [song2021score]; Karras et al. 2022 [karras2022elucidating], table 7 and appendix F.
    """
    return SongUNet(
        resolution=square_side(image_shape, "ddpmpp"),
        in_channels=image_shape[0],
        out_channels=image_shape[0],
        classes=classes,
        augment_dim=augment_dim,
        width=width,
        multiples=multiples,
        blocks=blocks,
        attention=attention,
        dropout=dropout,
        interval=interval,
    )


def ncsnpp(
    *,
    image_shape: tuple[int, int, int],
    classes: int = 0,
    width: PositiveInt = 128,
    multiples: tuple[PositiveInt, ...] = (2, 2, 2),
    blocks: PositiveInt = 4,
    attention: tuple[PositiveInt, ...] = (16,),
    dropout: Fraction = 0.13,
    augment_dim: NonNegativeInt = 9,
    interval: bool = False,
) -> nn.Module:
    """NCSN++: smaller versions of the image at every resolution, smooth filters, random frequencies of the time.

    Rectified flows and 2-rectified flow++ begin from it. Defaults are EDM's for CIFAR-10: 56.4 million weights.
    For 64 x 64 it takes multiples (1, 2, 2, 2): 62.8 million.

    Args:
        image_shape: channels, height, width; square, its side divisible by two once for each multiple but one.
        classes: labels it is conditioned on; 0 for none.
        width: channels at the full resolution, before the multiples.
        multiples: channels at each resolution, in widths.
        blocks: residual blocks at each resolution.
        attention: resolutions with attention; those that the network does not have are passed over.
        dropout: share of activations dropped in training; 0.25 for 64 x 64 in 2-rectified flow++.
        augment_dim: numbers that say how an image was augmented, zeros unless given; 9 in EDM's checkpoints.
        interval: build it for average velocities (MeanFlow).

    Raises:
        ModelError: images that are not square or cannot be halved as often.

    References:
        Song et al. 2021 [song2021score]; Karras et al. 2022 [karras2022elucidating], table 7 and appendix F.
    """
    return SongUNet(
        resolution=square_side(image_shape, "ncsnpp"),
        in_channels=image_shape[0],
        out_channels=image_shape[0],
        classes=classes,
        augment_dim=augment_dim,
        width=width,
        multiples=multiples,
        channel_mult_noise=2,
        blocks=blocks,
        attention=attention,
        dropout=dropout,
        embedding="fourier",
        encoder="residual",
        resample_filter=(1, 3, 3, 1),
        interval=interval,
    )
