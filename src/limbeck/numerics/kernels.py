"""How alike the images of a batch are as one network sees them, and how alike two such views."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from limbeck.errors import DataError, ShapeError
from limbeck.numerics.point_sets import distances_within

Median = Literal["all", "nonzero"]
"""Which squared distances the width of a Gaussian kernel is a multiple of the median of."""

BLOCK = 1 << 18
"""Numbers of features that are held in double precision at once: 2 MiB."""


def feature_rows(where: str, features: Tensor, *, least: int = 2) -> Tensor:
    """Features as centred rows in double precision, one for each image.

    Args:
        where: who asks and for what, for messages.
        features: shape (n, ...), of any real type; what follows n is flattened.
        least: images that are needed.

    Returns:
        Shape (n, p), float64, columns of mean zero; a column that does not vary is an exact zero.

    Raises:
        ShapeError: no dimension of images.
        DataError: too few images, none of the numbers, or numbers that are not finite.
    """
    rows = _centred(_flat(where, features, least))
    # The sum tells in one pass whether it is worth looking for the place.
    if not bool(rows.sum().isfinite()):
        _require_finite(where, rows)
    return rows


def feature_gram(where: str, features: Tensor, *, least: int = 2) -> Tensor:
    """As `linear_gram` of `feature_rows`, some columns at a time: what is in double precision stays in the cache.

    Args:
        where: who asks and for what, for messages.
        features: shape (n, ...), of any real type; what follows n is flattened.
        least: images that are needed.

    Returns:
        Shape (n, n), float64.

    Raises:
        ShapeError: no dimension of images.
        DataError: too few images, none of the numbers, or numbers that are not finite.

    Example:
        >>> feature_gram("me", torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
        tensor([[ 1., -1.],
                [-1.,  1.]], dtype=torch.float64)
    """
    flat = _flat(where, features, least)
    n = len(flat)
    gram = torch.zeros(n, n, dtype=torch.float64, device=flat.device)
    for columns in flat.split(max(1, BLOCK // n), dim=1):
        rows = _centred(columns)
        gram.addmm_(rows, rows.T)
    if not bool(gram.isfinite().all()):
        _require_finite(where, flat)
    return gram


def _flat(where: str, features: Tensor, least: int) -> Tensor:
    shape = tuple(features.shape)
    if features.dim() < 1 or features.is_complex():
        raise ShapeError(f"{where}: features must be real, of shape (n, ...); got {shape} of {features.dtype}.")
    if len(features) < least or not features[0].numel():
        raise DataError(f"{where}: needs at least {least} images with at least 1 number each, got shape {shape}.")
    own = features.detach()
    return (own.cpu() if own.device.type == "mps" else own).reshape(len(own), -1)  # Apple's GPUs know no float64


def _centred(flat: Tensor) -> Tensor:
    """Less the first row before less the mean: what is constant becomes zero without rounding."""
    rows = flat.to(torch.float64, copy=True)
    rows -= rows[:1].clone()
    rows -= rows.mean(dim=0)
    return rows


def _require_finite(where: str, rows: Tensor) -> None:
    broken = int((~rows.isfinite()).any(dim=0).sum())
    if broken:
        raise DataError(
            f"{where}: {broken:,} of the {rows.shape[1]:,} features hold infinite or undefined numbers."
        )


def linear_gram(rows: Tensor) -> Tensor:
    """Inner products of the images.

    Args:
        rows: shape (n, p).

    Returns:
        Shape (n, n).
    """
    return rows @ rows.T


def rbf_gram(rows: Tensor, *, width: float = 0.5, median: Median = "all") -> Tensor:
    r"""Gaussian kernel whose width follows the spread of the images.

    .. math:: k(x, y) = \exp\left(-\frac{|x - y|^2}{2 t^2 m}\right)

    Args:
        rows: shape (n, p), float64.
        width: t, in units of the root of the median m.
        median: over "all" squared distances, the n zeros of an image to itself among them, or over the "nonzero".

    Returns:
        Shape (n, n); NaN where the median is zero, as of images that are all alike.

    Example:
        >>> rows = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
        >>> rbf_gram(rows, width=1.0)[0].round(decimals=4)
        tensor([1.0000, 0.6065, 0.1353], dtype=torch.float64)
    """
    squares = torch.cat([block.square() for _, block in distances_within(rows)])
    counted = squares.flatten() if median == "all" else squares[squares > 0]
    middle = _median(counted)
    return torch.exp(-squares / (2 * width**2 * middle)) if middle > 0 else torch.full_like(squares, torch.nan)


def _median(values: Tensor) -> float:
    """With the mean of the middle two of an even number."""
    if not len(values):
        return 0.0
    ordered = values.sort().values
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def centred_gram(gram: Tensor) -> Tensor:
    """A kernel matrix less the means of its rows and columns: H K H.

    The inner product of two, over (n - 1)^2, is the biased estimate of HSIC.

    Args:
        gram: symmetric, shape (n, n).

    Returns:
        Shape (n, n).

    Example:
        >>> centred_gram(torch.eye(2))
        tensor([[ 0.5000, -0.5000],
                [-0.5000,  0.5000]])
    """
    means = gram.mean(dim=0)
    return gram - means - means[:, None] + means.mean()


def u_centred_gram(gram: Tensor) -> Tensor:
    """A kernel matrix without its diagonal, centred so that no bias is left.

    The inner product of two, over n (n - 3), is the unbiased estimate of HSIC: the three terms of the usual
    formula come to the same, but each matrix is prepared once instead of once for every other.

    Args:
        gram: symmetric, shape (n, n) with n of at least 4; its diagonal is not looked at.

    Returns:
        Shape (n, n), with a diagonal of zeros.

    Example:
        >>> u_centred_gram(torch.ones(4, 4)).abs().max()
        tensor(0.)

    References:
        Song et al., Feature Selection via Dependence Maximization, JMLR 2012, section 4.2 [song2012feature]; the
        centring is that of Székely and Rizzo, Partial Distance Correlation with Methods for Dissimilarities, The
        Annals of Statistics 2014, section 3 [szekely2014partial].
    """
    n = len(gram)
    gram = gram.clone().fill_diagonal_(0)
    sums = gram.sum(dim=0) / (n - 2)
    return (gram - sums - sums[:, None] + sums.sum() / (n - 1)).fill_diagonal_(0)


def aligned(cross: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Centred kernel alignment from three values of HSIC.

    Args:
        cross: of the two kernels with each other.
        left: of one with itself, of a shape that goes with it.
        right: of the other with itself.

    Returns:
        At most 1; NaN where a kernel's value with itself is not positive, so that nothing can be said.

    Example:
        >>> aligned(torch.tensor([1.0, 1.0]), torch.tensor([2.0, 0.0]), torch.tensor([2.0, 2.0]))
        tensor([0.5000,    nan])
    """
    defined = (left > 0) & (right > 0)
    return torch.where(defined, cross / (left.clamp_min(0).sqrt() * right.clamp_min(0).sqrt()), torch.nan)
