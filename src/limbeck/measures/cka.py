"""Centred kernel alignment: how alike two layers see the same images.

Rows are images, on both sides the same ones in the same order. The biased estimate grows towards 1 with the number
of features whatever they are; with no more images than features only the unbiased one says anything.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.bounds import Positive
from limbeck.errors import ShapeError
from limbeck.numerics.checks import require_above
from limbeck.numerics.kernels import (
    Median,
    aligned,
    centred_gram,
    feature_rows,
    linear_gram,
    rbf_gram,
    u_centred_gram,
)


@torch.no_grad()
def linear_cka(x: Tensor, y: Tensor) -> float:
    r"""Linear CKA, as it was first defined; biased upwards for few images.

    .. math:: \frac{|Y^\top X|_F^2}{|X^\top X|_F \, |Y^\top Y|_F}

    with centred columns. It is the same for features that are turned, moved, or scaled as a whole.

    Args:
        x: features of one layer, shape (n, ...), flattened to (n, p).
        y: of another for the same images, shape (n, ...), flattened to (n, q).

    Returns:
        Between 0 and 1; NaN where the features of a side do not vary.

    Raises:
        ShapeError: unequal numbers of images.
        DataError: fewer than two images, or numbers that are not finite.

    Example:
        >>> x = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 5.0]])
        >>> round(linear_cka(x, 3 * x.flip(1) + 7), 6)
        1.0

    References:
        Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019, section 3
        [kornblith2019similarity].
    """
    left, right = _pair("linear_cka", x, y, 2)
    if max(left.shape[1], right.shape[1]) < len(left):
        products = [(b.T @ a).square().sum() for a, b in ((left, right), (left, left), (right, right))]
    else:  # the smaller matrices; the numbers are the same
        products = _inner_products(linear_gram(left), linear_gram(right))
    return aligned(*products).item()


@torch.no_grad()
def linear_cka_unbiased(x: Tensor, y: Tensor) -> float:
    """Linear CKA from unbiased estimates of HSIC: 0 on average for features without a relation.

    Args:
        x: features of one layer, shape (n, ...), flattened to (n, p); at least 4 images.
        y: of another for the same images, shape (n, ...), flattened to (n, q).

    Returns:
        At most about 1, and below 0 at times; NaN where the estimate of a side with itself is not positive.

    Raises:
        ShapeError: unequal numbers of images.
        DataError: fewer than four images, or numbers that are not finite.

    Example:
        >>> x = torch.randn(20, 500, generator=torch.manual_seed(0))
        >>> y = torch.randn(20, 500, generator=torch.manual_seed(1))
        >>> linear_cka(x, y) > 0.9, abs(linear_cka_unbiased(x, y)) < 0.2, round(linear_cka_unbiased(x, x), 6)
        (True, True, 1.0)

    References:
        Nguyen, Raghu and Kornblith, Do Wide and Deep Networks Learn the Same Things?, ICLR 2021, section 3
        [nguyen2021wide].
    """
    left, right = _pair("linear_cka_unbiased", x, y, 4)
    return aligned(*(_hsic(a, b) for a, b in ((left, right), (left, left), (right, right)))).item()


@torch.no_grad()
def hsic_unbiased(x: Tensor, y: Tensor) -> float:
    r"""Unbiased estimate of the Hilbert-Schmidt independence criterion with linear kernels.

    .. math:: \frac{1}{n(n-3)} \left[ \mathrm{tr}(KL)
        + \frac{1^\top K 1 \; 1^\top L 1}{(n-1)(n-2)} - \frac{2}{n-2} 1^\top K L 1 \right]

    with the diagonals of K and L set to zero.

    Args:
        x: features of one layer, shape (n, ...), flattened to (n, p); at least 4 images.
        y: of another for the same images, shape (n, ...), flattened to (n, q).

    Returns:
        In squared units of both features; may be negative.

    Raises:
        ShapeError: unequal numbers of images.
        DataError: fewer than four images, or numbers that are not finite.

    Example:
        >>> round(hsic_unbiased(torch.arange(5.0), torch.arange(5.0)), 6)
        5.166667

    References:
        Song et al., Feature Selection via Dependence Maximization, JMLR 2012, equation 5 [song2012feature].
    """
    left, right = _pair("hsic_unbiased", x, y, 4)
    return _hsic(left, right).item()


@torch.no_grad()
def rbf_cka(x: Tensor, y: Tensor, *, width: Positive = 0.5, median: Median = "all") -> float:
    r"""CKA with Gaussian kernels, which look at near images alone; biased upwards for few images.

    .. math:: k(x, y) = \exp\left(-\frac{|x - y|^2}{2 t^2 m}\right)

    Args:
        x: features of one layer, shape (n, ...), flattened to (n, p).
        y: of another for the same images, shape (n, ...), flattened to (n, q).
        width: t, in units of the root of the median; 0.5 as in the authors' demonstration.
        median: m is that of "all" n^2 squared distances, zeros on the diagonal among them, as in the authors'
            demonstration, or of the "nonzero" ones. The numbers differ; state which.

    Returns:
        Between 0 and 1; NaN where the median of a side is zero.

    Raises:
        ShapeError: unequal numbers of images.
        DataError: fewer than two images, or numbers that are not finite.
        ConfigError: no width.

    Example:
        >>> x = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 5.0]])
        >>> round(rbf_cka(x, 3 * x.flip(1) + 7), 6)
        1.0

    References:
        Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019, section 3
        [kornblith2019similarity].
    """
    require_above("rbf_cka", 0, width=width)
    grams = (rbf_gram(rows, width=width, median=median) for rows in _pair("rbf_cka", x, y, 2))
    return aligned(*_inner_products(*(centred_gram(gram) for gram in grams))).item()


@torch.no_grad()
def rbf_cka_unbiased(x: Tensor, y: Tensor, *, width: Positive = 0.5, median: Median = "all") -> float:
    """CKA with Gaussian kernels from unbiased estimates of HSIC.

    Args:
        x: features of one layer, shape (n, ...), flattened to (n, p); at least 4 images.
        y: of another for the same images, shape (n, ...), flattened to (n, q).
        width: as for `rbf_cka`.
        median: as for `rbf_cka`.

    Returns:
        At most about 1, and below 0 at times; NaN where the estimate of a side with itself is not positive.

    Raises:
        ShapeError: unequal numbers of images.
        DataError: fewer than four images, or numbers that are not finite.
        ConfigError: no width.

    Example:
        >>> x = torch.randn(20, 3, generator=torch.manual_seed(0))
        >>> round(rbf_cka_unbiased(x, 2 * x), 6)
        1.0

    References:
        Nguyen, Raghu and Kornblith, Do Wide and Deep Networks Learn the Same Things?, ICLR 2021, section 3
        [nguyen2021wide].
    """
    require_above("rbf_cka_unbiased", 0, width=width)
    grams = (rbf_gram(rows, width=width, median=median) for rows in _pair("rbf_cka_unbiased", x, y, 4))
    return aligned(*_inner_products(*(u_centred_gram(gram) for gram in grams))).item()


def _pair(where: str, x: Tensor, y: Tensor, least: int) -> tuple[Tensor, Tensor]:
    if x.dim() and y.dim() and len(x) != len(y):
        raise ShapeError(
            f"{where}: the rows of both sides are the same images; got x {tuple(x.shape)} and y {tuple(y.shape)}."
        )
    left, right = (feature_rows(f"{where}: {name}", t, least=least) for name, t in (("x", x), ("y", y)))
    return left, right.to(left.device)


def _inner_products(left: Tensor, right: Tensor) -> list[Tensor]:
    return [(a * b).sum() for a, b in ((left, right), (left, left), (right, right))]


def _hsic(left: Tensor, right: Tensor) -> Tensor:
    """Unbiased HSIC of centred rows, by whichever of two equal forms takes the smaller matrices."""
    n = len(left)
    if max(left.shape[1], right.shape[1]) >= n:
        found = (u_centred_gram(linear_gram(left)) * u_centred_gram(linear_gram(right))).sum()
    else:
        r, u = left.square().sum(dim=1), right.square().sum(dim=1)
        found = (right.T @ left).square().sum() - n / (n - 2) * (r * u).sum()
        found = found + r.sum() * u.sum() / ((n - 1) * (n - 2))
    return found / (n * (n - 3))
