"""Attacks for loaders that normalise: the budget still counts pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from limbeck.audit.attacks.ifgsm import ifgsm
from limbeck.errors import ConfigError, DataError
from limbeck.models.outputs import logits_of
from limbeck.sources.loader import normalise

# Rounding of a normalised float32 or bfloat16 image, not a wrong mean.
_SLACK = 0.02


def attack_normalised(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    attack: Callable[..., Tensor] = ifgsm,
    **settings: Any,
) -> Tensor:
    """Undo the normalisation, attack in pixels, normalise again.

    Args:
        model: takes normalised images.
        images: normalised, shape (n, c, h, w).
        labels: true classes, shape (n,), int64.
        mean: that was subtracted, one a channel.
        std: that was divided by, one a channel.
        attack: of this package.
        settings: of the attack; distances in units of [0, 1].

    Returns:
        Normalised images, shape and kind of `images`.

    Raises:
        DataError: images that do not lie in [0, 1] with this mean and deviation undone.
        ConfigError: a deviation of zero, or a budget out of range.
    """
    if any(value <= 0 for value in std):
        raise ConfigError(f"attack_normalised: std is above 0 in every channel, got {list(std)}.")
    # Normalising by (-mean/std, 1/std) is the way back.
    pixels = normalise(images, [-m / s for m, s in zip(mean, std, strict=True)], [1 / s for s in std])
    low, high = (float(pixels.min()), float(pixels.max())) if pixels.numel() else (0.0, 0.0)
    if low < -_SLACK or high > 1 + _SLACK:
        raise DataError(
            f"attack_normalised: with mean {list(mean)} and std {list(std)} undone, pixels run from {low:.3g} to "
            f"{high:.3g}, outside [0, 1]; the images were normalised by something else."
        )
    found = attack(_Normalised(model, mean, std), pixels.clamp(0, 1), labels, **settings)
    return normalise(found, mean, std)


class _Normalised(nn.Module):
    """The model behind its normalisation."""

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self._mean, self._std = tuple(mean), tuple(std)

    def forward(self, images: Tensor) -> Tensor:
        """Pixels in [0, 1] to logits."""
        return logits_of(self.model(normalise(images, self._mean, self._std)))
