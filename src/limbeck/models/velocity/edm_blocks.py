"""The parts of EDM's two U-Nets: residual blocks with attention, filtered resampling and embeddings of numbers.

Names of modules and order of channels are those of the released checkpoints [karras2022elucidating], so that their
weights load as they are. Attention is written with products and a softmax and nothing is changed in place, so that
forward derivatives (`torch.func.jvp`) exist.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.errors import ModelError, ShapeError
from limbeck.models.velocity.embedding import one_hot
from limbeck.numerics.precision import no_autocast, promoted

_LONGEST = 10_000
"""Longest period of the positional embedding, in units of 2 pi."""


class ResampledConv(nn.Module):
    """A convolution together with a step to half or twice the resolution through a fixed low-pass filter.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: odd size of the convolution; 0 for the filter alone.
        direction: "up" filters before the convolution, and so does "down".
        taps: of the filter along each axis, normalised to a sum of one.
        filter_last: convolve at the full resolution and filter afterwards; with "down" only.
    """

    resample_filter: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int,
        direction: Literal["up", "down"],
        taps: tuple[int, ...] = (1, 1),
        filter_last: bool = False,
    ) -> None:
        super().__init__()
        self.direction, self.filter_last = direction, filter_last
        self.in_channels, self.out_channels = inputs, outputs
        # The initial values of torch's own convolution: uniform within one over the root of the fan-in.
        inner = dict(nn.Conv2d(inputs, outputs, kernel).named_parameters()) if kernel else {}
        self.weight, self.bias = inner.get("weight"), inner.get("bias")
        line = torch.tensor(taps, dtype=torch.float32)
        self.register_buffer("resample_filter", (line.outer(line) / line.sum().square())[None, None])

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h', w')."""
        around = 0 if self.weight is None else self.weight.shape[-1] // 2
        reach = (self.resample_filter.shape[-1] - 1) // 2
        if self.weight is None:
            return self._filter(x, reach)
        if self.filter_last:
            # The bias may as well come first: the filter sums to one.
            return self._filter(F.conv2d(x, self.weight, self.bias, padding=around + reach), 0)
        return F.conv2d(self._filter(x, reach), self.weight, self.bias, padding=around)

    def _filter(self, x: Tensor, padding: int) -> Tensor:
        channels = x.shape[1]
        kernel = self.resample_filter.to(x.dtype).expand(channels, 1, -1, -1)
        if self.direction == "down":
            return F.conv2d(x, kernel, stride=2, padding=padding, groups=channels)
        # Four times: three of four values that it sums over are zeros.
        return F.conv_transpose2d(x, 4 * kernel, stride=2, padding=padding, groups=channels)


class UNetBlock(nn.Module):
    """Two convolutions with a residual, told the time between them; then attention, if asked for.

    Args:
        inputs: channels in.
        outputs: channels out.
        told: width of the embedding of time and class.
        heads: of the attention; 0 for none.
        direction: "up" or "down" for a step to twice or half the resolution in front of the first convolution.
        taps: of the filter of that step.
        resample_proj: a 1x1 convolution beside the filter of that step on the residual path too.
        dropout: share of activations dropped in training.
        skip_scale: what sums with a residual are multiplied by; 1/sqrt(2) keeps their variance.
        adaptive_scale: the embedding scales and shifts; without, it is added.
        eps: of the group norms.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        told: int,
        heads: int = 0,
        direction: Literal["up", "down"] | None = None,
        taps: tuple[int, ...] = (1, 1),
        resample_proj: bool = False,
        dropout: float = 0.0,
        skip_scale: float = 1.0,
        adaptive_scale: bool = True,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if heads and outputs % heads:
            raise ModelError(
                f"{outputs} channels cannot be divided among {heads} heads of attention; "
                f"choose a width of which they are a multiple."
            )
        self.in_channels, self.out_channels, self.heads = inputs, outputs, heads
        self.dropout, self.skip_scale, self.adaptive_scale = dropout, skip_scale, adaptive_scale
        self.norm0 = group_norm(inputs, eps)
        self.conv0 = _conv(inputs, outputs, 3, direction, taps)
        self.affine = nn.Linear(told, outputs * (2 if adaptive_scale else 1))
        self.norm1 = group_norm(outputs, eps)
        self.conv1 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip: nn.Module | None = None
        if direction or inputs != outputs:
            self.skip = _conv(inputs, outputs, 1 if resample_proj or inputs != outputs else 0, direction, taps)
        if heads:
            self.norm2 = group_norm(outputs, eps)
            self.qkv = nn.Conv2d(outputs, 3 * outputs, 1)
            self.proj = nn.Conv2d(outputs, outputs, 1)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(n, inputs, h, w) and the embedding (n, told) to (n, outputs, h', w')."""
        inner = self.conv0(F.silu(self.norm0(x)))
        factors = self.affine(told.to(self.affine.weight.dtype)).to(inner.dtype)[:, :, None, None]
        if self.adaptive_scale:
            scale, shift = factors.chunk(2, dim=1)
            inner = F.silu(shift + self.norm1(inner) * (scale + 1))
        else:
            inner = F.silu(self.norm1(inner + factors))
        inner = self.conv1(F.dropout(inner, self.dropout, training=self.training))
        out: Tensor = ((x if self.skip is None else self.skip(x)) + inner) * self.skip_scale
        if self.heads:
            out = (out + self._attention(out)) * self.skip_scale
        return out

    def _attention(self, x: Tensor) -> Tensor:
        # A head's channels lie together, and of each the query, the key and the value.
        n, channels, height, width = x.shape
        parts = self.qkv(self.norm2(x)).reshape(n, self.heads, channels // self.heads, 3, height * width)
        query, key, value = parts.unbind(dim=3)
        # Half of the scale on either side: products of large channels do not overflow in half precision.
        half = (channels // self.heads) ** -0.25
        scores = (query * half).transpose(-1, -2) @ (key * half)
        weight = scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(value.dtype)
        mixed = value @ weight.transpose(-1, -2)
        result: Tensor = self.proj(mixed.reshape(n, channels, height, width))
        return result


class FourierEmbedding(nn.Module):
    """Cosines and sines at random frequencies, which are a part of the weights.

    Args:
        channels: even.
        scale: standard deviation of the frequencies.
    """

    freqs: Tensor

    def __init__(self, channels: int, scale: float = 16.0) -> None:
        super().__init__()
        self.register_buffer("freqs", scale * torch.randn(channels // 2))

    def forward(self, numbers: Tensor) -> Tensor:
        """(n,) to (n, channels), in float32 or better."""
        (numbers,) = promoted(numbers)
        angles = numbers[:, None] * (2 * math.pi * self.freqs.to(numbers.dtype))
        return torch.cat([angles.cos(), angles.sin()], dim=1)


class PositionalEmbedding(nn.Module):
    """Cosines and sines at frequencies from 1 down to 1/10,000, evenly spaced in their logarithm; no weights.

    Args:
        channels: even.
        endpoint: the last frequency is 1/10,000 itself.
    """

    def __init__(self, channels: int, *, endpoint: bool = False) -> None:
        super().__init__()
        self.channels, self.endpoint = channels, endpoint

    def forward(self, numbers: Tensor) -> Tensor:
        """(n,) to (n, channels), in float32 or better."""
        (numbers,) = promoted(numbers)
        half = self.channels // 2
        place = torch.arange(half, dtype=numbers.dtype, device=numbers.device) / max(half - self.endpoint, 1)
        angles = numbers[:, None] * torch.exp(-math.log(_LONGEST) * place)
        return torch.cat([angles.cos(), angles.sin()], dim=1)


def group_norm(channels: int, eps: float) -> nn.GroupNorm:
    """Groups of at least four channels, at most 32 of them.

    Raises:
        ModelError: the channels cannot be divided so.
    """
    groups = min(32, max(1, channels // 4))
    if channels % groups:
        raise ModelError(
            f"{channels} channels cannot be normalised in {groups} groups; choose a width that makes every number "
            "of channels a multiple of 4, and of 32 from 128 on."
        )
    return nn.GroupNorm(groups, channels, eps=eps)


def widened(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer in float32 or better, whatever precision its weights have and autocast asks for."""
    x, weight = promoted(x, layer.weight)
    with no_autocast(x):
        return F.linear(x, weight, None if layer.bias is None else layer.bias.to(x.dtype))


def class_rows(labels: Tensor | None, classes: int, like: Tensor) -> Tensor | None:
    """One-hot labels (n, classes) in the precision of `like`; zeros for -1 and None; None if there are no classes.

    Raises:
        ModelError: a label beyond the number of classes, or any at all where there are none.
    """
    if classes:
        return one_hot(labels, classes, like)
    if labels is not None and not torch.compiler.is_compiling() and bool((labels >= 0).any()):
        raise ModelError("a class was given to a network that knows none; build it with classes: <how many>.")
    return None


def interval_or_zero(interval: Tensor | None, time: Tensor, *, known: bool) -> Tensor | None:
    """Lengths of intervals for a network that is told them: zeros unless given; None for other networks.

    Raises:
        ModelError: lengths for a network that is not told any.
    """
    if known:
        return torch.zeros_like(time) if interval is None else interval
    if interval is not None:
        raise ModelError(
            "an interval was given to a network of instantaneous velocities; build it with interval: true."
        )
    return None


def augment_or_zero(augment: Tensor | None, size: int, like: Tensor) -> Tensor | None:
    """Labels of augmentation (n, size): zeros unless given; None for networks that are not told any.

    Raises:
        ModelError: labels of another size, or for a network that takes none.
    """
    if augment is None:
        # Zeros and not nothing: each parameter takes part in every step, which averaging between processes needs.
        return torch.zeros(like.shape[0], size, dtype=like.dtype, device=like.device) if size else None
    if augment.shape != (len(like), size):
        takes = f"({len(like)}, {size})" if size else "none: build it with augment_dim above 0"
        raise ModelError(
            f"labels of augmentation of {tuple(augment.shape)} were given; this network takes {takes}."
        )
    return augment.to(like.dtype)


def square_side(image_shape: tuple[int, int, int], name: str) -> int:
    """The side of square images.

    Raises:
        ModelError: they are not square.
    """
    _, height, width = image_shape
    if height != width:
        raise ModelError(
            f"{name} takes square images, not {height} x {width}; pad or crop them, or take small_unet."
        )
    return height


def sides(resolution: int, levels: int) -> tuple[int, ...]:
    """Resolutions from the first level to the last, each half of the one before.

    Raises:
        ModelError: it cannot be halved as often.
    """
    if levels < 1 or resolution % 2 ** (levels - 1):
        raise ModelError(
            f"images of {resolution} x {resolution} cannot be halved {levels - 1} times; "
            f"give fewer multiples, or images whose side is a multiple of {2 ** (levels - 1)}."
        )
    return tuple(resolution >> level for level in range(levels))


def require_images(x: Tensor, channels: int, resolution: int) -> None:
    """Make sure that images are those that a network was built for.

    Raises:
        ShapeError: they are not.
    """
    if x.ndim != 4 or tuple(x.shape[1:]) != (channels, resolution, resolution):
        raise ShapeError(
            f"this network takes images of (n, {channels}, {resolution}, {resolution}), not {tuple(x.shape)}."
        )


def _conv(
    inputs: int, outputs: int, kernel: int, direction: Literal["up", "down"] | None, taps: tuple[int, ...]
) -> nn.Module:
    if direction is None:
        return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    return ResampledConv(inputs, outputs, kernel=kernel, direction=direction, taps=taps)
