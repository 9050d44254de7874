"""What all transforms ask of their input."""

from __future__ import annotations

from torch import Tensor

from limbeck.errors import DataError, ShapeError


def need_images(name: str, images: Tensor, index: Tensor | None = None) -> None:
    """Refuse anything but floats of shape (n, c, h, w), and an index of another length.

    Raises:
        ShapeError: another number of axes, or numbers that do not fit the images.
        DataError: images of whole numbers.
    """
    if images.ndim != 4:
        raise ShapeError(f"{name} takes images (n, c, h, w); got shape {tuple(images.shape)}.")
    if not images.is_floating_point():
        raise DataError(f"{name} takes floats in [0, 1]; got {images.dtype}. Divide bytes by 255.")
    if index is not None and tuple(index.shape) != (len(images),):
        raise ShapeError(
            f"{name}: {len(images)} images need as many numbers in index; got shape {tuple(index.shape)}."
        )
