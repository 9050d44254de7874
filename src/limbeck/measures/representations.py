"""How alike two layers arrange the same images: by rotation, by dissimilarities, by neighbours.

Rows are images, on both sides the same ones in the same order.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.bounds import PositiveInt
from limbeck.errors import ConfigError, ShapeError
from limbeck.numerics.kernels import feature_rows
from limbeck.numerics.neighbours import shared_neighbours
from limbeck.numerics.rank_correlation import spearman

TINY = 1e-12
"""Rows whose numbers differ by less, in units of their size, differ by rounding."""


@torch.no_grad()
def procrustes_distance(x: Tensor, y: Tensor) -> float:
    r"""What is left between two sets of features when one is turned onto the other.

    .. math:: |X|_F^2 + |Y|_F^2 - 2 |X^\top Y|_*

    after centring both and scaling each to unit norm.

    Args:
        x: features of one layer, shape (n, ...), flattened to (n, p).
        y: of another for the same images, shape (n, ...), flattened to (n, q).

    Returns:
        Between 0 and 2; its root is a metric. NaN where the features of a side do not vary.

    Raises:
        ShapeError: unequal numbers of images.
        DataError: fewer than two images, or numbers that are not finite.

    Example:
        >>> x = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 5.0]])
        >>> abs(round(procrustes_distance(x, 3 * x.flip(1) + 7), 6))
        0.0

    References:
        Williams et al., Generalized Shape Metrics on Neural Representations, NeurIPS 2021, section 2
        [williams2021generalized].
    """
    left, right = _pair("procrustes_distance", x, y)
    sizes = left.norm(), right.norm()
    if not all(size > 0 for size in sizes):
        return float("nan")
    left, right = (_reduced(rows / size) for rows, size in zip((left, right), sizes, strict=True))
    overlap = float(torch.linalg.svdvals(left.T @ right).sum())
    return max(0.0, 2 - 2 * overlap)


def _reduced(rows: Tensor) -> Tensor:
    """The same rows in at most n numbers each, turned; what is measured does not see the turn."""
    n, width = rows.shape
    return rows if width <= n else torch.linalg.qr(rows.T, mode="r").R.T


@torch.no_grad()
def rsa(x: Tensor, y: Tensor) -> float:
    """Representational similarity: whether the pairs of images that one layer finds unlike are so for the other.

    The dissimilarity of two images is one minus Pearson's correlation of their features; the dissimilarities of
    all pairs are compared by Spearman's correlation.

    Args:
        x: features of one layer, shape (n, ...), flattened to (n, p) with p of at least 2; at least 3 images.
        y: of another for the same images, shape (n, ...), flattened to (n, q).

    Returns:
        Between -1 and 1; NaN where the features of an image are all equal (they have no correlation), or all pairs
        equally unlike.

    Raises:
        ShapeError: unequal numbers of images.
        DataError: fewer than three images, or numbers that are not finite.

    Example:
        >>> x = torch.tensor([[0.0, 1.0, 3.0], [2.0, 0.0, 1.0], [1.0, 5.0, 2.0], [1.0, 0.0, 4.0]])
        >>> round(rsa(x, 3 * x + 7), 6)
        1.0

    References:
        Kriegeskorte, Mur and Bandettini, Representational Similarity Analysis, Frontiers in Systems Neuroscience
        2008 [kriegeskorte2008representational].
    """
    _pair("rsa", x, y, least=3)  # checks alone: what correlates is not centred over images
    dissimilarities = [_dissimilarities(features) for features in (x, y)]
    if any(bool(d.isnan().any()) for d in dissimilarities):
        return float("nan")
    return spearman(dissimilarities[0], dissimilarities[1].to(dissimilarities[0].device)).item()


def _dissimilarities(features: Tensor) -> Tensor:
    """One minus the correlation of each pair of images, shape (n (n - 1) / 2,)."""
    rows = features.detach().cpu().double().reshape(len(features), -1)
    size = rows.abs().amax(dim=1, keepdim=True)
    flat = rows.amax(dim=1) - rows.amin(dim=1) <= TINY * size[:, 0]
    rows = rows / torch.where(size > 0, size, 1.0)
    directions = F.normalize(rows - rows.mean(dim=1, keepdim=True), dim=1)
    directions[flat] = torch.nan
    n = len(rows)
    above = torch.triu_indices(n, n, offset=1)
    # Equal dissimilarities must stay ties: rounding would give them an order of their own.
    return (1 - (directions @ directions.T)[above[0], above[1]]).round(decimals=12)


@torch.no_grad()
def mutual_knn(x: Tensor, y: Tensor, *, k: PositiveInt = 10) -> float:
    """Mean share of an image's k nearest images by one layer that are among its k nearest by the other.

    Args:
        x: features of one layer, shape (n, ...), flattened to (n, p).
        y: of another for the same images, shape (n, ...), flattened to (n, q).
        k: neighbours, at most n - 1; 10 is usual for about a thousand images.

    Returns:
        A fraction; `mutual_knn_chance` is that of layers that have nothing to do with each other.

    Raises:
        ShapeError: unequal numbers of images.
        DataError: fewer than two images, or numbers that are not finite.
        ConfigError: k outside 1 to n - 1.

    Example:
        >>> mutual_knn(torch.tensor([0.0, 1.0, 3.0, 4.0]), torch.tensor([0.0, 2.0, 7.0, 9.0]), k=1)
        1.0

    References:
        Huh et al., The Platonic Representation Hypothesis, ICML 2024, section 3 [huh2024position].
    """
    left, right = _pair("mutual_knn", x, y)
    mutual_knn_chance(len(left), k=k)
    return shared_neighbours(left, right, k=k).mean().item()


def mutual_knn_chance(images: int, *, k: PositiveInt = 10) -> float:
    """What `mutual_knn` is on average when the neighbours of one side have nothing to do with those of the other.

    Args:
        images: how many.
        k: neighbours, at most images - 1.

    Returns:
        k / (images - 1).

    Raises:
        ConfigError: k outside 1 to images - 1.

    Example:
        >>> mutual_knn_chance(101, k=10)
        0.1
    """
    if not 1 <= k <= images - 1:
        raise ConfigError(f"mutual_knn: k must be between 1 and {images - 1} for {images} images, got {k}.")
    return k / (images - 1)


def _pair(where: str, x: Tensor, y: Tensor, least: int = 2) -> tuple[Tensor, Tensor]:
    if x.dim() and y.dim() and len(x) != len(y):
        raise ShapeError(
            f"{where}: the rows of both sides are the same images; got x {tuple(x.shape)} and y {tuple(y.shape)}."
        )
    left, right = (feature_rows(f"{where}: {name}", t, least=least) for name, t in (("x", x), ("y", y)))
    return left, right.to(left.device)
