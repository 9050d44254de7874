"""The one place that knows about randomness.

Every random choice is a pure function of a seed and of counters (epoch, step, sample index), so a run that
was killed and resumed repeats exactly what it would have done. Nothing here keeps a state.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

_MASK = (1 << 64) - 1
_SIGN = 1 << 63


def derive(seed: int, *path: int | str) -> int:
    """A 63-bit seed for one purpose, e.g. `derive(0, "weights")` or `derive(0, "step", 12)`.

    Example:
        >>> derive(0, "weights") == derive(0, "weights"), derive(0, "weights") == derive(0, "order")
        (True, False)
    """
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *path: int | str) -> torch.Generator:
    """A CPU generator for one purpose."""
    return torch.Generator().manual_seed(derive(seed, *path))


def seed_everything(seed: int, *path: int | str) -> None:
    """Seed torch's own generators, which layers such as dropout draw from, on the CPU and every CUDA device.

    Seeding the generators themselves costs microseconds; `torch.manual_seed` costs a hundred times more, and
    this runs before every optimizer step.
    """
    value = derive(seed, *path)
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for device in torch.cuda.default_generators:
            device.manual_seed(value)


def permutation(length: int, seed: int, epoch: int) -> Tensor:
    """The order of samples in one epoch, shape (length,), int64."""
    return torch.randperm(length, generator=generator(seed, "order", epoch))


def uniforms(index: Tensor, *, seed: int, epoch: int, draws: int) -> Tensor:
    """Counter-based uniform numbers: for each sample the same draws, whatever batch it stands in.

    The hash is the finaliser of SplitMix64 applied to (seed, epoch, index, draw).

    Args:
        index: sample indices, shape (n,), int64, on any device.
        seed: the run's seed for this purpose.
        epoch: counted from 1.
        draws: numbers wanted for each sample.

    Returns:
        Numbers in [0, 1), shape (n, draws), float32, on the device of `index`.

    Example:
        >>> whole = uniforms(torch.arange(4), seed=0, epoch=1, draws=3)
        >>> bool((uniforms(torch.tensor([2]), seed=0, epoch=1, draws=3) == whole[2]).all())
        True
    """
    key = derive(seed, "uniforms", epoch)
    counter = torch.arange(draws, device=index.device, dtype=torch.int64)
    state = index.to(torch.int64)[:, None] * _signed(0xD1342543DE82EF95) + counter * _signed(0x9E3779B97F4A7C15)
    state = _mix(_mix(state + key) + counter)
    return ((state >> 40) & 0xFFFFFF).to(torch.float32) * (1.0 / (1 << 24))


def normals(index: Tensor, *, seed: int, shape: tuple[int, ...]) -> Tensor:
    """Counter-based standard normal numbers: for each index the same ones, on any device and in any batch.

    Two hashes of (seed, index, place) with 53 bits each go through Box and Muller's transform in double precision.
    A tensor of noise can therefore be stored as one number, its index.

    Args:
        index: shape (n,), int64, on any device.
        seed: of this purpose.
        shape: of the noise of one index.

    Returns:
        Shape (n, *shape), float32, on the device of `index`.

    Example:
        >>> whole = normals(torch.arange(4), seed=0, shape=(3, 8, 8))
        >>> bool((normals(torch.tensor([2]), seed=0, shape=(3, 8, 8)) == whole[2]).all())
        True
    """
    draws = math.prod(shape)
    pairs = -(-draws // 2)
    key = derive(seed, "normals")
    counter = torch.arange(2 * pairs, device=index.device, dtype=torch.int64)
    state = index.to(torch.int64)[:, None] * _signed(0xD1342543DE82EF95) + counter * _signed(0x9E3779B97F4A7C15)
    state = _mix(_mix(state + key) + counter)
    # Into (0, 1]: the logarithm of zero would be infinite.
    uniform = (_shift(state, 11).to(torch.float64) + 1) * 2.0**-53
    radius = (-2 * uniform[:, :pairs].log()).sqrt()
    angle = 2 * math.pi * uniform[:, pairs:]
    both = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
    return both[:, :draws].to(torch.float32).view(index.shape[0], *shape)


def _mix(state: Tensor) -> Tensor:
    state = (state ^ _shift(state, 30)) * _signed(0xBF58476D1CE4E5B9)
    state = (state ^ _shift(state, 27)) * _signed(0x94D049BB133111EB)
    return state ^ _shift(state, 31)


def _shift(state: Tensor, bits: int) -> Tensor:
    # int64 shifts keep the sign; a logical shift clears the copied sign bits.
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 64) if value & _SIGN else value
