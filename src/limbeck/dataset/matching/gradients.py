"""Matching gradients: synthetic images that pull a network where real ones pull it.

Gradients are lists of tensors, one a parameter in the order of registration, as `torch.autograd.grad` gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from limbeck.errors import ShapeError

_EPSILON = 1e-6


def row_cosine(real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> Tensor:
    """One minus the cosine of every output unit's row, summed over units and layers (DC's own distance).

    A convolution's weight counts as one row an output channel. Biases and weights of norms count nothing.

    Args:
        real: gradient on real images; no gradient flows into it.
        synthetic: gradient on synthetic images.

    Returns:
        Scalar.

    References:
        Dataset Condensation with Gradient Matching, ICLR 2021, equation 9 [zhao2021dataset].
    """
    _same(real, synthetic)
    total = synthetic[0].new_zeros(())
    for a, b in zip(real, synthetic, strict=True):
        if b.ndim < 2:
            continue
        rows_a, rows_b = a.detach().flatten(1), b.flatten(1)
        norms = rows_a.norm(dim=1) * rows_b.norm(dim=1) + _EPSILON
        total = total + (1 - (rows_a * rows_b).sum(1) / norms).sum()
    return total


def squared(real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> Tensor:
    """Squared distance over all parameters.

    Args:
        real: gradient on real images; no gradient flows into it.
        synthetic: gradient on synthetic images.
    """
    _same(real, synthetic)
    return torch.stack([(a.detach() - b).square().sum() for a, b in zip(real, synthetic, strict=True)]).sum()


def cosine(real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> Tensor:
    """One minus the cosine of all parameters as one vector.

    Args:
        real: gradient on real images; no gradient flows into it.
        synthetic: gradient on synthetic images.
    """
    _same(real, synthetic)
    a = torch.cat([t.detach().reshape(-1) for t in real])
    b = torch.cat([t.reshape(-1) for t in synthetic])
    similarity: Tensor = (a * b).sum() / (a.norm() * b.norm() + _EPSILON)
    return 1 - similarity


def convolution_squared(real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> Tensor:
    """Squared distance over weights of convolutions (IDC on CIFAR and SVHN).

    Args:
        real: gradient on real images; no gradient flows into it.
        synthetic: gradient on synthetic images.

    References:
        Dataset Condensation via Efficient Synthetic-Data Parameterization, ICML 2022 [kim2022idc].
    """
    return torch.stack([(a - b).square().sum() for a, b in _convolutions(real, synthetic)]).sum()


def convolution_absolute(real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> Tensor:
    """Absolute distance over weights of convolutions (IDC on other data).

    Args:
        real: gradient on real images; no gradient flows into it.
        synthetic: gradient on synthetic images.
    """
    return torch.stack([(a - b).abs().sum() for a, b in _convolutions(real, synthetic)]).sum()


def convolution_mean_absolute(real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> Tensor:
    """Mean absolute distance of every output channel's weights, summed over channels and convolutions.

    Args:
        real: gradient on real images; no gradient flows into it.
        synthetic: gradient on synthetic images.
    """
    pairs = _convolutions(real, synthetic)
    return torch.stack([(a - b).abs().flatten(1).mean(1).sum() for a, b in pairs]).sum()


def convolution_cosine(real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> Tensor:
    """`row_cosine` over weights of convolutions alone: the classifier counts nothing.

    Args:
        real: gradient on real images; no gradient flows into it.
        synthetic: gradient on synthetic images.
    """
    pairs = _convolutions(real, synthetic)
    return row_cosine([a for a, _ in pairs], [b for _, b in pairs])


DISTANCES: Mapping[str, Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]] = {
    "row_cosine": row_cosine,
    "squared": squared,
    "cosine": cosine,
    "convolution_squared": convolution_squared,
    "convolution_absolute": convolution_absolute,
    "convolution_mean_absolute": convolution_mean_absolute,
    "convolution_cosine": convolution_cosine,
}


def _convolutions(real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    _same(real, synthetic)
    found = [(a.detach(), b) for a, b in zip(real, synthetic, strict=True) if b.ndim > 2]
    if not found:
        raise ShapeError("this distance compares weights of convolutions, and the network has none.")
    return found


def _same(real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> None:
    shapes = [[tuple(t.shape) for t in side] for side in (real, synthetic)]
    if shapes[0] != shapes[1]:
        raise ShapeError("the two gradients are of different networks: their shapes differ.")
