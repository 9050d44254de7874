"""The built-in set: small scans of handwritten digits that come with scikit-learn."""

from __future__ import annotations

from typing import Literal

import torch

from limbeck.bounds import NonNegativeInt, PositiveInt
from limbeck.sources.arrays import ArraySource, arrays
from limbeck.sources.selection import hold_out

TEST_SHARE = 500 / 1797


def digits(
    *,
    split: Literal["train", "test"] = "train",
    limit: PositiveInt | None = None,
    per_class: PositiveInt | None = None,
    subset_seed: NonNegativeInt = 0,
    size: PositiveInt | None = None,
    channels: Literal[1, 3] = 1,
) -> ArraySource:
    """1,797 real handwritten digits, 8 x 8 pixels, grey; about 1,300 to train on and 500 to test on. No download.

    Args:
        split: train or test; fixed, with the same share of every digit in both.
        limit: at most so many images, spread evenly over the classes.
        per_class: exactly so many images of each class.
        subset_seed: another seed makes another choice of images.
        size: resize to so many pixels.
        channels: 1, or 3 equal ones for a network of colour images.

    Example:
        >>> digits(per_class=10).image_shape, len(digits(per_class=10))
        ((1, 8, 8), 100)

    References:
        The optical recognition set of handwritten digits of the UCI repository [alpaydin1998digits].
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    labels = torch.from_numpy(data.target).long()
    kept, held = hold_out(labels, 10, TEST_SHARE)
    rows = held if split == "test" else kept
    return arrays(
        (torch.from_numpy(data.images)[rows] / 16)[:, None].expand(-1, channels, -1, -1),
        labels[rows],
        class_names=[str(n) for n in range(10)],
        limit=limit,
        per_class=per_class,
        subset_seed=subset_seed,
        size=size,
    )
