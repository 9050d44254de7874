"""Crops at predicted boxes compared with crops at true ones: KD_loc [guo2021distilling]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.bounds import PositiveInt
from limbeck.errors import ShapeError
from limbeck.numerics.precision import promoted

GREY_LEVELS = 255.0


def crop_distance(predicted: Tensor, true: Tensor, *, pool: PositiveInt) -> Tensor:
    """Mean absolute difference of two stacks of maps after adaptive average pooling.

    Args:
        predicted: shape (k, c, h, w).
        true: the same shape; no gradient flows into it.
        pool: cells a side.

    Returns:
        Shape (k,).

    Raises:
        ShapeError: the two differ in shape, or are no maps.

    Example:
        >>> crop_distance(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8), pool=4)
        tensor([1.])
    """
    if predicted.ndim != 4 or predicted.shape != true.shape:
        raise ShapeError(
            f"crop_distance: maps (k, c, h, w) of one shape; got {tuple(predicted.shape)} and {tuple(true.shape)}."
        )
    predicted, true = promoted(predicted, true.detach())
    if len(predicted) == 0:
        return predicted.new_zeros(0)
    # Pooling is linear: one pooling of the difference instead of two.
    return F.adaptive_avg_pool2d(predicted - true, pool).abs().flatten(1).mean(1)


def kd_loc_pixels(predicted_crops: Tensor, true_crops: Tensor, *, pool: PositiveInt = 4) -> Tensor:
    r"""The crop at the predicted box against the crop of the true one, in pixels.

    .. math:: \ell_k = \frac{1}{M H W} \lVert AP(O^p_k) - AP(O^{gt}_k) \rVert_1

    It needs no teacher. The gradient reaches the box through the sampling grid. On an object without texture a
    box that is too large is punished far more than one that is too small, so the term refines the detector's own
    box loss and cannot replace it.

    Args:
        predicted_crops: at the predicted boxes, pixels in [0, 1], shape (k, c, s, s).
        true_crops: at the boxes of the matched objects, the same shape; no gradient flows into them.
        pool: cells a side that crops are averaged to: 4 in the released code, 8 the best in the paper.

    Returns:
        Grey levels (0 to 255), one value per positive, shape (k,). The released code adds their mean with the
        weight 0.15 to the loss of an SSD whose input has grey levels.

    Raises:
        ShapeError: the two differ in shape.

    Example:
        >>> kd_loc_pixels(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.2)).round()
        tensor([51.])

    References:
        Guo, Alvarez, Salzmann, Distilling Image Classifiers in Object Detectors, 2021, section 3.3
        [guo2021distilling].
    """
    return GREY_LEVELS * crop_distance(predicted_crops, true_crops, pool=pool)


def kd_loc_features(
    predicted_maps: Sequence[Tensor], true_maps: Sequence[Tensor], *, pool: PositiveInt = 8
) -> Tensor:
    r"""The same in the first layers of the classifier.

    .. math:: \ell_k = \frac1L \sum_\ell \frac{1}{M_\ell H_\ell W_\ell}
        \lVert AP(F^\ell(O^p_k)) - AP(F^\ell(O^{gt}_k)) \rVert_1

    Args:
        predicted_maps: of each tap, at the predicted boxes, shape (k, c, h, w).
        true_maps: of each tap, at the true boxes, the same shapes; no gradient flows into them.
        pool: cells a side that the first tap is averaged to; each further tap has twice as many, as in the
            released code.

    Returns:
        One value per positive, shape (k,), in units of the features. Its published weight is 0.15.

    Raises:
        ShapeError: no taps, or shapes that differ.

    Example:
        >>> kd_loc_features([torch.zeros(1, 3, 8, 8)], [torch.ones(1, 3, 8, 8)])
        tensor([1.])
    """
    if not predicted_maps or len(predicted_maps) != len(true_maps):
        raise ShapeError(
            f"kd_loc_features: the same taps on both sides, at least one; got {len(predicted_maps)} and "
            f"{len(true_maps)}."
        )
    taps = [
        crop_distance(predicted, true, pool=pool * 2**place)
        for place, (predicted, true) in enumerate(zip(predicted_maps, true_maps, strict=True))
    ]
    return torch.stack(taps).mean(0)
