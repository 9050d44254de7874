"""From pixels in [0, 1] to what networks see, and back: channel statistics or ZCA whitening."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from limbeck.errors import CheckpointError, DataError

ZCA_EPSILON = 0.1
"""Added to the eigenvalues of the covariance, as in the published programs."""
_LARGEST = 4096


class Preprocess(Protocol):
    """A map of images that can be undone."""

    @property
    def name(self) -> str:
        """Either `normalisation` or `zca`."""
        ...

    def apply(self, pixels: Tensor) -> Tensor:
        """Pixels in [0, 1], (n, c, h, w), to the space of networks."""
        ...

    def invert(self, images: Tensor) -> Tensor:
        """Back to pixels, which may lie outside [0, 1]."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Its numbers by name, float32."""
        ...

    def to(self, device: torch.device) -> Preprocess:
        """The same on another device."""
        ...


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel.

    Attributes:
        mean: with pixels in [0, 1].
        std: likewise.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    name: ClassVar[str] = "normalisation"

    def apply(self, pixels: Tensor) -> Tensor:
        """Pixels in [0, 1], (n, c, h, w), to mean 0 and deviation 1 over the data."""
        return (pixels - _channels(self.mean, pixels)) / _channels(self.std, pixels)

    def invert(self, images: Tensor) -> Tensor:
        """Back to pixels, not clamped."""
        return images * _channels(self.std, images) + _channels(self.mean, images)

    def tensors(self) -> dict[str, Tensor]:
        """`mean` and `std`, float64, which holds what was given."""
        return {key: torch.tensor(getattr(self, key), dtype=torch.float64) for key in ("mean", "std")}

    def to(self, device: torch.device) -> Normalisation:
        """Itself: its numbers are plain."""
        return self


@dataclass(frozen=True, eq=False)
class Whitening:
    """ZCA: images without correlation between any two of their values.

    Attributes:
        mean: of each value, (d,), d = c h w.
        matrix: (d, d), symmetric.
        inverse: of the matrix.
    """

    mean: Tensor
    matrix: Tensor
    inverse: Tensor
    name: ClassVar[str] = "zca"

    def apply(self, pixels: Tensor) -> Tensor:
        """Pixels in [0, 1], (n, c, h, w), whitened."""
        self._require(pixels)
        return ((pixels.flatten(1) - self.mean.to(pixels)) @ self.matrix.to(pixels)).view_as(pixels)

    def invert(self, images: Tensor) -> Tensor:
        """Back to pixels, not clamped."""
        self._require(images)
        return (images.flatten(1) @ self.inverse.to(images) + self.mean.to(images)).view_as(images)

    def tensors(self) -> dict[str, Tensor]:
        """`mean`, `matrix` and `inverse`."""
        return {"mean": self.mean, "matrix": self.matrix, "inverse": self.inverse}

    def to(self, device: torch.device) -> Whitening:
        """The same on another device."""
        return Whitening(self.mean.to(device), self.matrix.to(device), self.inverse.to(device))

    def _require(self, images: Tensor) -> None:
        if images.flatten(1).shape[1] != len(self.mean):
            raise DataError(
                f"ZCA was fitted on images of {len(self.mean)} values, these have {images.flatten(1).shape[1]}."
            )


def fit_whitening(pixels: Tensor, *, eps: float = ZCA_EPSILON) -> Whitening:
    """ZCA of a training set.

    Args:
        pixels: in [0, 1], (n, c, h, w).
        eps: added to every eigenvalue of the covariance.

    Raises:
        DataError: fewer than two images, images so large that the matrix would not fit, or values that are not
            finite.
    """
    flat = pixels.flatten(1)
    count, size = flat.shape
    if count < 2:
        raise DataError(f"ZCA needs a covariance, and so at least two images; there is {count}.")
    if size > _LARGEST:
        raise DataError(
            f"ZCA needs a {size} x {size} matrix for images of {tuple(pixels.shape[1:])}, and its "
            f"decomposition; it is meant for at most {_LARGEST} values an image. Leave whitening off at this size."
        )
    mean = flat.double().mean(0)
    covariance = torch.zeros(size, size, dtype=torch.float64, device=flat.device)
    for part in flat.split(4096):
        centred = part.double() - mean
        covariance += centred.T @ centred
    if not bool(torch.isfinite(covariance).all()):
        broken = ~torch.isfinite(flat).all(1)
        where = f"image {int(broken.nonzero()[0])} holds" if bool(broken.any()) else "the images hold"
        raise DataError(f"ZCA was given pixels that cannot be whitened: {where} values that are not finite.")
    values, vectors = torch.linalg.eigh(covariance / (count - 1))
    values = values.clamp(min=0) + eps
    matrix = vectors * values.rsqrt() @ vectors.T
    inverse = vectors * values.sqrt() @ vectors.T
    kind = pixels.dtype
    return Whitening(mean.to(kind), matrix.to(kind), inverse.to(kind))


def from_tensors(name: str, tensors: Mapping[str, Tensor]) -> Preprocess:
    """What was written by its numbers.

    Raises:
        CheckpointError: an unknown name, or numbers that are missing.
    """
    needed = {"normalisation": ("mean", "std"), "zca": ("mean", "matrix", "inverse")}.get(name)
    if needed is None:
        raise CheckpointError(f"preprocessing '{name}' is not known here: normalisation or zca.")
    missing = [key for key in needed if key not in tensors]
    if missing:
        raise CheckpointError(
            f"preprocessing '{name}' lacks its {', '.join(missing)}; without "
            f"{'it' if len(missing) == 1 else 'them'} "
            "nobody can prepare test images as these were. Export the set again from where it was made."
        )
    if name == "normalisation":
        mean, std = (tuple(tensors[key].double().tolist()) for key in needed)
        return Normalisation(mean, std)
    return Whitening(mean=tensors["mean"], matrix=tensors["matrix"], inverse=tensors["inverse"])


def _channels(values: Sequence[float], images: Tensor) -> Tensor:
    return torch.tensor(values, dtype=images.dtype, device=images.device).view(1, -1, 1, 1)
