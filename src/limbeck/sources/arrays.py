"""Images that are in memory, as uint8."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.bounds import NonNegativeInt, PositiveInt
from limbeck.errors import DataError
from limbeck.sources.selection import choose

_CHUNK = 4096


class ArraySource:
    """A set held in memory.

    Args:
        images: shape (n, c, h, w), uint8.
        labels: shape (n,), int64.
        class_names: in the order of the labels.
        mean: of each channel in [0, 1]; of these images unless given.
        std: likewise.
        groups: shape (n,), int64: the group of each image, for measures of the worst group.
        group_names: in the order of the groups.

    Raises:
        DataError: no images, shapes or kinds that do not fit, labels or groups out of range, fewer than two
            classes.

    Example:
        >>> source = ArraySource(
        ...     torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), ["cat", "dog"]
        ... )
        >>> len(source), source.image_shape, source[1][1]
        (4, (1, 8, 8), 1)
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        class_names: Sequence[str],
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        groups: Tensor | None = None,
        group_names: Sequence[str] = (),
    ) -> None:
        if images.ndim != 4 or images.dtype != torch.uint8:
            raise DataError(f"images have shape (n, c, h, w), uint8; got {tuple(images.shape)}, {images.dtype}.")
        check_labels(labels, len(images), class_names)
        if groups is not None:
            _check_groups(groups, len(images), group_names)
        for name, values in (("mean", mean), ("std", std)):
            if values is not None and len(values) != images.shape[1]:
                raise DataError(f"{name} has {len(values)} values; the images have {images.shape[1]} channels.")
        self.images = images.contiguous()
        self.labels = labels
        self.class_names: tuple[str, ...] = tuple(class_names)
        self.groups = groups
        self.group_names: tuple[str, ...] = tuple(group_names)
        self._given = (mean, std)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @cached_property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel, with pixels in [0, 1]."""
        return tuple(self._given[0]) if self._given[0] is not None else self._statistics[0]

    @cached_property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel; 1 for a channel without any variation."""
        return tuple(self._given[1]) if self._given[1] is not None else self._statistics[1]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of pixels, labels and class names, and of groups where there are any."""
        digest = hashlib.blake2b(repr((tuple(self.images.shape), self.class_names)).encode(), digest_size=8)
        digest.update(self.images.numpy().data)
        digest.update(self.labels.contiguous().numpy().data)
        if self.groups is not None:
            digest.update(repr(self.group_names).encode())
            digest.update(self.groups.contiguous().numpy().data)
        return digest.hexdigest()

    @cached_property
    def _statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return pixel_statistics(self.images)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One image as uint8 (c, h, w) and its label."""
        return self.images[index], int(self.labels[index])

    def __repr__(self) -> str:
        return f"ArraySource({len(self)} images {self.image_shape}, {len(self.class_names)} classes)"


def arrays(
    images: Any,
    labels: Any,
    *,
    class_names: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    limit: PositiveInt | None = None,
    per_class: PositiveInt | None = None,
    subset_seed: NonNegativeInt = 0,
    size: PositiveInt | None = None,
) -> ArraySource:
    """Images and labels from NumPy or torch. For use from Python; a recipe cannot hold arrays.

    Args:
        images: shape (n, h, w), (n, c, h, w) or (n, h, w, c); whole numbers in [0, 255], or fractions in [0, 1],
            which are rounded to 255ths.
        labels: shape (n,): class indices, or names as text.
        class_names: in the order of the labels; the sorted names, or "0", "1", ... unless given.
        mean: of each channel in [0, 1]; computed unless given.
        std: likewise.
        limit: at most so many images, spread evenly over the classes.
        per_class: exactly so many images of each class.
        subset_seed: another seed makes another choice of images.
        size: resize to so many pixels, the shorter side first, then cut the middle out.

    Raises:
        DataError: values, shapes or labels that make no set of images.

    Example:
        >>> arrays(np.zeros((4, 8, 8), dtype=np.uint8), ["a", "b", "a", "b"]).class_names
        ('a', 'b')
    """
    pixels = as_pixels(images)
    numbers, names = as_labels(labels, class_names)
    check_labels(numbers, len(pixels), names)
    rows = choose(numbers, names, limit=limit, per_class=per_class, seed=subset_seed)
    if rows is not None:
        pixels, numbers = pixels[rows], numbers[rows]
    return ArraySource(resized(pixels, size), numbers, names, mean=mean, std=std)


def as_pixels(images: Any) -> Tensor:
    """Images in any usual layout as uint8 (n, c, h, w).

    Raises:
        DataError: another number of dimensions, or values outside [0, 255] or [0, 1].
    """
    if isinstance(images, Tensor):
        found = images.detach().cpu()
    else:
        found = torch.from_numpy(np.require(images, requirements=["C", "W"]))
    if found.ndim == 3:
        found = found[:, None]
    if found.ndim != 4 or len(found) == 0:
        raise DataError(
            f"images have shape (n, h, w), (n, c, h, w) or (n, h, w, c) with n of at least 1; "
            f"got {tuple(found.shape)}."
        )
    if found.shape[1] not in (1, 3) and found.shape[3] in (1, 3):
        found = found.permute(0, 3, 1, 2)
    if found.dtype == torch.uint8:
        return found.contiguous()
    low, high = float(found.min()), float(found.max())
    top = 1 if found.is_floating_point() else 255
    if not (low >= 0 and high <= top):  # also false for NaN
        raise DataError(
            f"images of {found.dtype} have values in [0, {top}]; these reach from {low:.4g} to {high:.4g}. "
            "Scale them, and leave normalisation to the library: mean and std are settings."
        )
    return ((found * 255).round() if top == 1 else found).to(torch.uint8).contiguous()


def as_labels(labels: Any, class_names: Sequence[str] | None) -> tuple[Tensor, tuple[str, ...]]:
    """Labels as int64 (n,) with the names of the classes.

    Raises:
        DataError: labels that are neither whole numbers nor text, or a name that is not among the classes.
    """
    found = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if found.ndim != 1:
        hint = " One-hot labels: use argmax(1)." if found.ndim == 2 else ""
        raise DataError(f"labels have shape (n,); got {found.shape}.{hint}")
    if found.dtype.kind in "US":
        names = tuple(class_names) if class_names is not None else tuple(sorted({str(v) for v in found}))
        place = {name: i for i, name in enumerate(names)}
        unknown = sorted({str(v) for v in found} - set(names))
        if unknown:
            raise DataError(f"label '{unknown[0]}' is not among the class names: {', '.join(names)}.")
        return torch.tensor([place[str(v)] for v in found], dtype=torch.int64), names
    if found.dtype.kind not in "iu":
        raise DataError(f"labels are class indices (whole numbers) or names (text); got {found.dtype}.")
    numbers = torch.from_numpy(found.astype(np.int64))
    if class_names is None:
        class_names = [str(i) for i in range(int(numbers.max()) + 1 if len(numbers) else 0)]
    return numbers, tuple(class_names)


def check_labels(labels: Tensor, images: int, class_names: Sequence[str]) -> None:
    """Make sure that every image has a class.

    Raises:
        DataError: none, too many, out of range, or fewer than two classes.
    """
    if images == 0:
        raise DataError("there are no images.")
    if tuple(labels.shape) != (images,) or labels.dtype != torch.int64:
        raise DataError(f"{images} images need {images} labels, int64; got {tuple(labels.shape)}, {labels.dtype}.")
    classes = len(class_names)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        at = int(((labels < 0) | (labels >= classes)).nonzero()[0])
        raise DataError(
            f"label {int(labels[at])} of image {at} is out of range: {classes} classes have labels 0 to "
            f"{classes - 1}; these reach from {low} to {high}."
        )
    if classes < 2:
        raise DataError(
            f"a classifier needs at least two classes; there is one ('{class_names[0]}'). "
            "Give class_names if more exist."
        )
    if len(set(class_names)) != classes:
        twice = next(name for name in class_names if list(class_names).count(name) > 1)
        raise DataError(f"two classes are named '{twice}'.")


def _check_groups(groups: Tensor, images: int, names: Sequence[str]) -> None:
    if tuple(groups.shape) != (images,) or groups.dtype != torch.int64:
        raise DataError(f"{images} images need {images} groups, int64; got {tuple(groups.shape)}, {groups.dtype}.")
    low, high = int(groups.min()), int(groups.max())
    if low < 0 or high >= len(names):
        raise DataError(
            f"{len(names)} groups have numbers 0 to {len(names) - 1}; these reach from {low} to {high}."
        )
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        raise DataError(f"two groups are named '{twice}'.")


def resized(images: Tensor, size: int | None) -> Tensor:
    """Square uint8 images of `size` pixels: shorter side first, then the middle is cut out."""
    if size is None or tuple(images.shape[2:]) == (size, size):
        return images
    if size < 1:
        raise DataError(f"size: {size} pixels make no image; it is at least 1.")
    height, width = images.shape[2:]
    scale = size / min(height, width)
    target = (max(round(height * scale), size), max(round(width * scale), size))
    top, left = (target[0] - size) // 2, (target[1] - size) // 2
    out = torch.empty((len(images), images.shape[1], size, size), dtype=torch.uint8)
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK].float()
        part = F.interpolate(part, target, mode="bilinear", antialias=True, align_corners=False)
        part = part[:, :, top : top + size, left : left + size]
        out[start : start + _CHUNK] = part.round().clamp(0, 255).to(torch.uint8)
    return out


def pixel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, with pixels in [0, 1]; from exact counts of the 256 values."""
    counts = torch.zeros(images.shape[1], 256, dtype=torch.int64)
    for start in range(0, len(images), _CHUNK):
        for channel, row in enumerate(counts):
            row += torch.bincount(images[start : start + _CHUNK, channel].reshape(-1), minlength=256)
    weights = counts.double() / counts.sum(1, keepdim=True)
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = weights @ values
    std = (weights * (values - mean[:, None]) ** 2).sum(1).sqrt()
    std[std == 0] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist())
