"""IDC's augmentation: colour, cutout and flip whenever they are named, and one of the other families beside them.

It differs from DSA in that and in the corners: scaling and turning sample with `align_corners` off.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.dataset import dsa

ALWAYS = ("color", "cutout", "flip")


@dataclass(frozen=True)
class Drawn:
    """What is applied, in order.

    Attributes:
        draws: of DSA's families.
    """

    draws: tuple[dsa.Draw, ...]


def draw(
    strategy: str,
    shape: tuple[int, ...],
    *,
    generator: torch.Generator,
    device: torch.device,
    siamese: bool = True,
) -> Drawn:
    """Draw which families are applied to a batch, and their numbers.

    Args:
        strategy: families joined by underscores.
        shape: of the images, (n, c, h, w).
        generator: on the CPU.
        device: where the numbers shall be.
        siamese: one set of numbers for all images, as for a match; else one for each, as for training.
    """
    names = dsa.families(strategy)
    others = [name for name in names if name not in ALWAYS]
    chosen: list[str] = [name for name in ("flip", "color") if name in names]
    if others:
        chosen.append(others[int(torch.randint(len(others), (1,), generator=generator))])
    chosen += ["cutout"] if "cutout" in names else []
    return Drawn(tuple(dsa.draw(n, shape, generator=generator, siamese=siamese, device=device) for n in chosen))


def without(strategy: str, family: str) -> str:
    """The strategy less one family."""
    return "_".join(name for name in dsa.families(strategy) if name != family)


def apply(images: Tensor, drawn: Drawn) -> Tensor:
    """Augmented images, differentiable with respect to the images (n, c, h, w)."""
    for one in drawn.draws:
        if one.family == "scale":
            images = scale(images, *one.numbers)
        elif one.family == "rotate":
            images = rotate(images, *one.numbers)
        else:
            images = dsa.apply(images, one)
    return images


def scale(images: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Stretch by a factor in [1/1.2, 1.2] along x (from u) and along y (from v)."""
    return _warp(images, dsa.scaling(images, u, v))


def rotate(images: Tensor, u: Tensor) -> Tensor:
    """Turn by (u - 0.5) 30 degrees."""
    return _warp(images, dsa.turning(images, u))


def _warp(images: Tensor, matrix: Tensor) -> Tensor:
    grid = F.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
