"""Several training images in each stored one (IDC's multi-formation)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.dataset.preprocess import Preprocess
from limbeck.errors import ConfigError

PADDING = 0.5
"""Grey, in pixels of [0, 1]: what completes an image whose side the factor does not divide."""


def decode(images: Tensor, targets: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Cut stored images into factor x factor tiles and enlarge each to the whole size.

    Args:
        images: pixels, (n, c, h, h); `decode_seen` takes what networks see.
        targets: (n,) or (n, classes).
        factor: tiles along each side.

    Returns:
        Images (n factor^2, c, h, h), tile after tile in rows, and their targets.

    Raises:
        ConfigError: a factor below 1 or above the side.
    """
    size = images.shape[-1]
    if not 1 <= factor <= size:
        raise ConfigError(f"factor: {factor} tiles a side cannot be cut out of {size} pixels.")
    if factor == 1:
        return images, targets
    rest = size % factor
    if rest:
        images = F.pad(images, (0, factor - rest, 0, factor - rest), value=PADDING)
    side = images.shape[-1] // factor
    tiles = [
        images[:, :, i * side : (i + 1) * side, j * side : (j + 1) * side]
        for i in range(factor)
        for j in range(factor)
    ]
    grown = F.interpolate(torch.cat(tiles), size=size, mode="bilinear")
    return grown, targets.repeat(factor**2, *([1] * (targets.ndim - 1)))


def decode_seen(images: Tensor, targets: Tensor, factor: int, preprocess: Preprocess) -> tuple[Tensor, Tensor]:
    """`decode` of images in the space of networks, by way of pixels.

    Whitening mixes all pixels of an image, so a tile of a whitened image is not the whitened tile; and the padding
    is grey in pixels.

    Args:
        images: as networks see them, (n, c, h, h).
        targets: (n,) or (n, classes).
        factor: tiles along each side.
        preprocess: how pixels became these images.
    """
    if factor == 1:
        return images, targets
    pixels, repeated = decode(preprocess.invert(images), targets, factor)
    return preprocess.apply(pixels), repeated


def decode_multi(images: Tensor, targets: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Every factor from 1 to `factor`, one after the other.

    Args:
        images: (n, c, h, h).
        targets: (n,) or (n, classes).
        factor: the largest.
    """
    found = [decode(images, targets, f) for f in range(1, factor + 1)]
    return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])


def decode_bounded(images: Tensor, targets: Tensor, factor: int, *, bound: int) -> tuple[Tensor, Tensor]:
    """At most `bound` training images: the first stored ones with large factors, the rest with small ones.

    Args:
        images: (n, c, h, h).
        targets: (n,) or (n, classes).
        factor: the largest.
        bound: training images in all; at least as many as are stored are always made.
    """
    found, first, made = [], 0, 0
    for f in range(factor, 0, -1):
        left = len(images) - first
        # The published rule: what is left of the bound after every image that is still to come has its one.
        count = left if f == 1 else min(max(bound - made - left, 0) // f**2, left)
        if count:
            found.append(decode(images[first : first + count], targets[first : first + count], f))
        first, made = first + count, made + count * f**2
    return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])


def mixed_start(pool: Tensor, ipc: int, factor: int) -> Tensor:
    """Stored images tiled of real ones, each shrunk by taking nearest neighbours.

    Args:
        pool: real images of one class, (ipc factor^2, c, h, h); tile k takes those from k ipc on.
        ipc: images to make.
        factor: tiles along each side; where it does not divide the side, the first tiles are a pixel larger.

    Returns:
        (ipc, c, h, h).

    Raises:
        ConfigError: fewer real images than tiles.
    """
    if len(pool) < ipc * factor**2:
        raise ConfigError(
            f"{ipc} images of {factor} x {factor} tiles take {ipc * factor**2} real images of a class; there are "
            f"{len(pool)}."
        )
    return tiled(pool, ipc, factor, pool.shape[-1])


def tiled(patches: Tensor, ipc: int, factor: int, size: int) -> Tensor:
    """Patches joined to images, each resized by taking nearest neighbours.

    Args:
        patches: (ipc factor^2, c, h, h); tile k, row by row, takes those from k ipc on.
        ipc: images to make.
        factor: tiles along each side; where it does not divide the side, the first tiles are a pixel larger.
        size: side of the images.

    Returns:
        (ipc, c, size, size).
    """
    sides = [size // factor + (i < size % factor) for i in range(factor)]
    parts = iter(patches.split(ipc))
    rows = [torch.cat([F.interpolate(next(parts), size=(tall, wide)) for wide in sides], 3) for tall in sides]
    return torch.cat(rows, 2)


def pixel_rate(lr: float, ipc: int, size: int, *, base: int = 32) -> float:
    """IDC's rate for a number of images per class and a size, whose published rates are for ten and for `base`.

    Args:
        lr: published rate, 5e-3.
        ipc: images per class of the subset.
        size: side of the images.
        base: 32 for CIFAR and SVHN, 28 for MNIST, 224 for ImageNet.
    """
    return lr * (ipc / 10) * (size / base) ** 2
