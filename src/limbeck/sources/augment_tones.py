"""Random changes of tone and sharpness, of whole batches, for a share of the images each."""

from __future__ import annotations

from torch import Tensor

from limbeck.bounds import Fraction, NonNegative, NonNegativeInt, Positive, PositiveInt
from limbeck.errors import DataError
from limbeck.sources import pixel_ops as ops
from limbeck.sources.augment import need_floats, only


def posterise(images: Tensor, draws: Tensor, *, bits: NonNegativeInt = 4, probability: Fraction = 0.5) -> Tensor:
    """Only the highest bits of each pixel kept, for a share of the images.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        draws: shape (n, DRAWS); one is used.
        bits: of 8; 8 changes nothing but rounding to 1/255.
        probability: of the change.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: images of whole numbers, or more than 8 bits.
    """
    need_floats("posterise", images)
    if bits > 8:
        raise DataError(f"posterise: a pixel has 8 bits, got bits {bits}.")
    return only(
        images, _chosen(draws, probability), lambda x, rows: ops.posterise(x, draws.new_full((len(x),), bits))
    )


def solarise(images: Tensor, draws: Tensor, *, threshold: Fraction = 0.5, probability: Fraction = 0.5) -> Tensor:
    """Pixels of at least the threshold inverted, for a share of the images.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        draws: shape (n, DRAWS); one is used.
        threshold: 128 of 255 is 0.502.
        probability: of the change.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: images of whole numbers.
    """
    need_floats("solarise", images)
    return only(
        images, _chosen(draws, probability), lambda x, rows: ops.solarise(x, draws.new_full((len(x),), threshold))
    )


def invert(images: Tensor, draws: Tensor, *, probability: Fraction = 0.5) -> Tensor:
    """Negatives, for a share of the images.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        draws: shape (n, DRAWS); one is used.
        probability: of the change.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: images of whole numbers.
    """
    need_floats("invert", images)
    return only(images, _chosen(draws, probability), lambda x, rows: ops.invert(x))


def autocontrast(images: Tensor, draws: Tensor, *, probability: Fraction = 0.5) -> Tensor:
    """Each channel spread over all of [0, 1], for a share of the images.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        draws: shape (n, DRAWS); one is used.
        probability: of the change.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: images of whole numbers.
    """
    need_floats("autocontrast", images)
    return only(images, _chosen(draws, probability), lambda x, rows: ops.stretch_contrast(x))


def equalise(images: Tensor, draws: Tensor, *, probability: Fraction = 0.5) -> Tensor:
    """Each channel's histogram made even, for a share of the images.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        draws: shape (n, DRAWS); one is used.
        probability: of the change.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: images of whole numbers.
    """
    need_floats("equalise", images)
    return only(images, _chosen(draws, probability), lambda x, rows: ops.equalise(x))


def sharpen(images: Tensor, draws: Tensor, *, factor: NonNegative = 2.0, probability: Fraction = 0.5) -> Tensor:
    """The distance of pixels from their neighbourhood times a factor, for a share of the images.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        draws: shape (n, DRAWS); one is used.
        factor: 0 blurs, 1 changes nothing, 2 sharpens.
        probability: of the change.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: images of whole numbers.
    """
    need_floats("sharpen", images)
    return only(
        images,
        _chosen(draws, probability),
        lambda x, rows: ops.scale_sharpness(x, draws.new_full((len(x),), factor)),
    )


def gaussian_blur(
    images: Tensor,
    draws: Tensor,
    *,
    size: PositiveInt = 3,
    smallest: Positive = 0.1,
    largest: Positive = 2.0,
    probability: Fraction = 0.5,
) -> Tensor:
    """Gaussian blur of a random width, for a share of the images.

    Args:
        images: shape (n, c, h, w), floats in [0, 1].
        draws: shape (n, DRAWS); two are used.
        size: of the kernel in pixels, odd; a tenth of the image is usual (23 for 224 pixels).
        smallest: standard deviation in pixels, at least.
        largest: standard deviation in pixels, at most.
        probability: of the change.

    Returns:
        Shape and kind of `images`.

    Raises:
        DataError: images of whole numbers, a size that is even or too large, or smallest above largest.
    """
    need_floats("gaussian_blur", images)
    if size % 2 == 0 or smallest > largest or size // 2 >= min(images.shape[2:]):
        raise DataError(
            f"gaussian_blur: needs an odd size below twice the images' {min(images.shape[2:])} pixels and "
            f"smallest <= largest; got size {size}, {smallest} and {largest}."
        )
    sigma = smallest + (largest - smallest) * draws[:, 1]
    return only(images, _chosen(draws, probability), lambda x, rows: ops.blur(x, sigma[rows], size=size))


def _chosen(draws: Tensor, probability: float) -> Tensor:
    return draws[:, 0] < probability
