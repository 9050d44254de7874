"""How similar a teacher finds its classes, and the ground cost of transport made from it.

Similarity comes from prototypes (rows of a classifier, class means) by cosine, or from whole classes of features
by centred kernel alignment (CKA). CKA pairs the rows of two classes by position, although they belong to
different images; it measures how alike the two clouds are spread rather than how near they are.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import ShapeError
from limbeck.numerics.checks import require_above
from limbeck.numerics.precision import no_autocast, promoted

_LOGGER = logging.getLogger("limbeck")
TINY = 1e-30
"""Floor of denominators: features of no spread count as similar to nothing."""


def cosine_distance(prototypes: Tensor) -> Tensor:
    """One minus the cosine between prototypes.

    Args:
        prototypes: one vector per class, shape (classes, d), e.g. the classifier's weight or class means. They
            are detached.

    Returns:
        Distances between 0 and 2, shape (classes, classes).

    Raises:
        ShapeError: not a matrix.

    Example:
        >>> cosine_distance(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        tensor([[0., 1.],
                [1., 0.]])
    """
    if prototypes.dim() != 2:
        raise ShapeError(f"cosine_distance: expected shape (classes, d), got {tuple(prototypes.shape)}.")
    (vectors,) = promoted(prototypes.detach())
    with no_autocast(vectors):
        directions = F.normalize(vectors, dim=1)
        return 1 - directions @ directions.T


def linear_cka_distance(features: Tensor) -> Tensor:
    r"""One minus linear CKA between the classes' features.

    .. math:: 1 - \frac{|X_j^\top X_i|_F^2}{|X_i^\top X_i|_F \, |X_j^\top X_j|_F}

    with columns of each X centred. With no more samples than dimensions CKA is biased towards 1 and distances
    towards 0; a warning is logged.

    Args:
        features: shape (classes, n, d); n samples (or pixels) of each class.

    Returns:
        Distances between 0 and 1, shape (classes, classes).

    Raises:
        ShapeError: not three dimensions, or fewer than two samples.

    Example:
        >>> features = torch.randn(2, 50, 4, generator=torch.manual_seed(0))
        >>> linear_cka_distance(features).diagonal().abs().max() < 1e-5
        tensor(True)
    """
    x = _centred("linear_cka_distance", features)
    classes, samples, dims = x.shape
    if samples <= dims:
        _LOGGER.warning(
            "CKA between classes from %d samples of %d dimensions each is biased towards 1; use more samples.",
            samples,
            dims,
        )
    with no_autocast(x):
        if samples <= dims:  # the smaller Gram matrix gives the same number
            return 1 - gram_cka(x @ x.mT)
        products = torch.stack([(x[i].T @ x).square().sum(dim=(1, 2)) for i in range(classes)])
    return 1 - _normalised(products)


def gram_cka(grams: Tensor) -> Tensor:
    """CKA between classes from a Gram matrix of each.

    Args:
        grams: kernel matrices, shape (classes, n, n), not necessarily centred.

    Returns:
        Similarities, shape (classes, classes), 1 on the diagonal.

    Example:
        >>> gram_cka(torch.eye(3).expand(2, 3, 3)).round(decimals=4)
        tensor([[1., 1.],
                [1., 1.]])
    """
    centred = grams - grams.mean(dim=1, keepdim=True) - grams.mean(dim=2, keepdim=True)
    flat = (centred + grams.mean(dim=(1, 2), keepdim=True)).flatten(1)
    return _normalised(flat @ flat.T)


def rbf_cka(features: Tensor, *, scale: float) -> Tensor:
    r"""CKA between classes with a Gaussian kernel.

    .. math:: k(x, y) = \exp\left(-\frac{|x - y|^2}{2 s^2 m}\right)

    with m the (lower) median of all squared distances within a class, those of a sample to itself included.

    Args:
        features: shape (classes, n, d).
        scale: width s in units of the root of the median, > 0.

    Returns:
        Similarities, shape (classes, classes).

    Example:
        >>> rbf_cka(torch.randn(3, 9, 2), scale=0.5).shape
        torch.Size([3, 3])
    """
    require_above("rbf_cka", 0, scale=scale)
    x = _centred("rbf_cka", features)
    with no_autocast(x):
        squares = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()
        median = squares.flatten(1).median(dim=1).values[:, None, None].clamp_min(TINY)
        return gram_cka(torch.exp(-squares / (2 * scale**2 * median)))


def polynomial_cka(features: Tensor, *, degree: int = 2, offset: float = 1.0) -> Tensor:
    """CKA between classes with the kernel (x . y + offset) ** degree on centred features.

    Args:
        features: shape (classes, n, d).
        degree: of the polynomial, at least 1.
        offset: added to the product.

    Returns:
        Similarities, shape (classes, classes).

    Example:
        >>> polynomial_cka(torch.randn(3, 9, 2)).shape
        torch.Size([3, 3])
    """
    require_above("polynomial_cka", 0, degree=degree)
    x = _centred("polynomial_cka", features)
    with no_autocast(x):
        return gram_cka((x @ x.mT + offset) ** degree)


def relation_cost(distance: Tensor, *, kappa: float = 1.0) -> Tensor:
    r"""Ground cost from a distance between classes: :math:`1 - \exp(-\kappa d)`.

    Args:
        distance: shape (classes, classes).
        kappa: sharpness; 0 takes the distance itself as cost.

    Returns:
        Costs, shape (classes, classes).

    Example:
        >>> relation_cost(torch.tensor([[0.0, 1.0]]), kappa=1.0).round(decimals=4)
        tensor([[0.0000, 0.6321]])

    References:
        [lv2024wasserstein], where kappa is 1, but 2 for ImageNet ResNet-50 to MobileNet.
    """
    return distance if kappa == 0 else 1 - torch.exp(-kappa * distance)


def _centred(where: str, features: Tensor) -> Tensor:
    if features.dim() != 3 or features.shape[1] < 2:
        raise ShapeError(
            f"{where}: expected features (classes, n, d) with at least 2 samples of each class, "
            f"got {tuple(features.shape)}."
        )
    (x,) = promoted(features.detach())
    return x - x.mean(dim=1, keepdim=True)


def _normalised(products: Tensor) -> Tensor:
    norms = products.diagonal().clamp_min(0).sqrt()
    return products / (norms[:, None] * norms).clamp_min(TINY)
