"""What was counted on each image, so that any number can be drawn again from other images.

Every number of an audit is a function of sums over images: a share is one sum over another, Cohen's kappa a
function
of how often each answer was given, the calibration error one of the sums in each bin. Kept image by image, such a
number can be computed for any weighting of the images, thousands at once, and for two networks with the same one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.errors import ShapeError


def ratio(sums: Tensor) -> Tensor:
    """The first sum over the second, NaN where nothing was counted.

    Args:
        sums: shape (..., 2).

    Example:
        >>> ratio(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([0.7500,    nan])
    """
    return sums[..., 0] / sums[..., 1]


@dataclass(frozen=True, eq=False)
class Tally:
    """One number about a network, kept as what every image adds to it.

    Attributes:
        columns: what each image adds to each sum, shape (n, k), float64, finite.
        summary: from sums, shape (..., k), to the number, shape (...).

    Raises:
        ShapeError: columns that are no matrix, or not finite.

    Example:
        >>> tally = share(torch.tensor([1.0, 0.0, float("nan"), 1.0]))
        >>> round(tally.value, 4), tally.count
        (0.6667, 3)
        >>> tally.weighted(torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 2.0, 1.0, 1.0]])).round(decimals=4)
        tensor([0.6667, 0.3333], dtype=torch.float64)
    """

    columns: Tensor
    summary: Callable[[Tensor], Tensor] = ratio

    def __post_init__(self) -> None:
        if self.columns.ndim != 2:
            raise ShapeError(f"a tally has one row for each image; got shape {tuple(self.columns.shape)}.")
        if not bool(self.columns.isfinite().all()):
            row = int((~self.columns.isfinite()).any(dim=1).nonzero()[0])
            raise ShapeError(f"a tally counts finite numbers; row {row} holds {self.columns[row].tolist()}.")

    @property
    def value(self) -> float:
        """The number itself, every image counting once."""
        return self.summary(self.columns.sum(dim=0)).item()

    @property
    def count(self) -> int:
        """Images that add anything."""
        return int((self.columns != 0).any(dim=1).sum())

    def weighted(self, weights: Tensor) -> Tensor:
        """The number for other weightings of the images.

        Args:
            weights: how often each image counts, shape (b, n).

        Returns:
            Shape (b,), float64.
        """
        return self.summary(weights.to(self.columns) @ self.columns)


def share(values: Tensor, counted: Tensor | None = None) -> Tally:
    """The mean of a number over images.

    Args:
        values: one for each image, shape (n,); NaN where an image does not count.
        counted: shape (n,), bool: count these alone.
    """
    values = values.detach().cpu().to(torch.float64)
    counts = ~values.isnan() if counted is None else counted.cpu() & ~values.isnan()
    return Tally(torch.stack([torch.where(counts, values, 0.0), counts.to(torch.float64)], dim=1))
