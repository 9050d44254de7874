"""Recovering images from a classifier: what its batch norms remember of the training data [yin2023sre2l]."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from limbeck.errors import ModelError

RATIOS = (3 / 4, 4 / 3)
"""Width to height of a random crop."""
_TRIES = 10


class Statistics:
    """Distance of each batch norm's input from what the norm has seen in training.

    The sum over norms of the Euclidean distance of the channels' means and that of their variances (biased).

    Args:
        model: with batch norms that keep running statistics, in eval mode.
        first_weight: weight of the first norm; the others count once.

    Raises:
        ModelError: it has none.
    """

    def __init__(self, model: nn.Module, *, first_weight: float = 10.0) -> None:
        self.model = model
        self.norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
        if not self.norms:
            raise ModelError(
                f"the teacher {type(model).__name__} has no batch norm with running statistics, which the images "
                "are matched on. Take one that has, e.g. a ResNet."
            )
        self.first_weight = first_weight

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, classes) of images (n, c, h, w), and their distance, a scalar."""
        found: list[Tensor] = []

        def look(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(norm, _BatchNorm)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            per_channel = inputs[0].transpose(0, 1).flatten(1)
            variance, mean = torch.var_mean(per_channel, dim=1, correction=0)
            found.append((variance - norm.running_var).norm() + (mean - norm.running_mean).norm())

        handles = [norm.register_forward_pre_hook(look) for norm in self.norms]
        try:
            logits = self.model(images)
        finally:
            for handle in handles:
                handle.remove()
        return logits, torch.stack([self.first_weight * found[0], *found[1:]]).sum()


def random_view(images: Tensor, *, crop: float, jitter: int, draws: torch.Generator) -> Tensor:
    """One random crop of all images, enlarged; half of the images mirrored; all rolled alike.

    Args:
        images: (n, c, h, w).
        crop: smallest share of the area that a crop keeps; 1 takes whole images.
        jitter: largest roll in pixels, along both sides.
        draws: on the CPU.
    """
    height, width = images.shape[-2:]
    if crop < 1:
        top, left, tall, wide = _region(height, width, crop, draws)
        images = images[:, :, top : top + tall, left : left + wide]
        images = F.interpolate(images, size=(height, width), mode="bilinear")
    mirrored = (torch.rand(len(images), generator=draws) < 0.5).to(images.device)
    images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if not jitter:
        return images
    by = torch.randint(-jitter, jitter + 1, (2,), generator=draws).tolist()
    return images.roll(by, dims=(2, 3))


def _region(height: int, width: int, smallest: float, draws: torch.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part; the whole where none of some tries fits."""
    low, high = (math.log(ratio) for ratio in RATIOS)
    for _ in range(_TRIES):
        u, v = torch.rand(2, generator=draws).tolist()
        area, ratio = height * width * (smallest + (1 - smallest) * u), math.exp(low + (high - low) * v)
        tall, wide = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < tall <= height and 0 < wide <= width:
            top = int(torch.randint(height - tall + 1, (1,), generator=draws))
            left = int(torch.randint(width - wide + 1, (1,), generator=draws))
            return top, left, tall, wide
    return 0, 0, height, width
