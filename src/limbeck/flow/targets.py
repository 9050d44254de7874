"""Distributions in the plane, as endless data: points are images of shape (2, 1, 1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limbeck.bounds import NonNegative, Positive


def eight_gaussians(
    count: int, generator: torch.Generator, *, radius: Positive = 2.0, std: Positive = 0.1
) -> Tensor:
    """Eight narrow Gaussians on a circle.

    Args:
        count: points.
        generator: on the CPU.
        radius: of the circle.
        std: of each.
    """
    angle = torch.randint(8, (count,), generator=generator) * (math.pi / 4)
    centres = radius * torch.stack([angle.cos(), angle.sin()], dim=1)
    return _as_images(centres + std * torch.randn(count, 2, generator=generator))


def moons(count: int, generator: torch.Generator, *, noise: NonNegative = 0.05) -> Tensor:
    """Two half circles in one another.

    Args:
        count: points.
        generator: on the CPU.
        noise: standard deviation around them.
    """
    angle = math.pi * torch.rand(count, generator=generator)
    lower = torch.randint(2, (count,), generator=generator).bool()
    across = torch.where(lower, 1 - angle.cos(), angle.cos()) - 0.5
    up = torch.where(lower, 0.5 - angle.sin(), angle.sin()) - 0.25
    points = torch.stack([across, up], dim=1) * 1.5
    return _as_images(points + noise * torch.randn(count, 2, generator=generator))


def checkerboard(count: int, generator: torch.Generator, *, squares: int = 4, side: Positive = 1.0) -> Tensor:
    """Every other square of a board.

    Args:
        count: points.
        generator: on the CPU.
        squares: along each side; even.
        side: of a square.
    """
    column = torch.randint(squares, (count,), generator=generator)
    row = 2 * torch.randint(squares // 2, (count,), generator=generator) + column % 2
    place = torch.stack([column, row], dim=1) + torch.rand(count, 2, generator=generator)
    return _as_images((place - squares / 2) * side)


def gaussian(count: int, generator: torch.Generator, *, mean: float = 0.4, std: Positive = 0.3) -> Tensor:
    """One Gaussian, whose flows are known in closed form.

    Args:
        count: points.
        generator: on the CPU.
        mean: of both coordinates.
        std: of both.
    """
    return _as_images(mean + std * torch.randn(count, 2, generator=generator))


def _as_images(points: Tensor) -> Tensor:
    return points.view(-1, 2, 1, 1)
