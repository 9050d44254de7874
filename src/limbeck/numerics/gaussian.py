"""Feature maps as Gaussians: moments of channels over pixels, and what separates two of them."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import ShapeError


def channel_moments(maps: Tensor, *, grid: int = 1, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    r"""Mean and standard deviation of every channel, over all pixels or over the cells of a grid.

    Cells are those of adaptive pooling: cell a covers rows floor(a h / grid) to ceil((a + 1) h / grid), so cells
    overlap where the grid does not divide the size. The deviation is the root of unbiased variance plus `eps`.

    Args:
        maps: feature maps, shape (n, c, h, w).
        grid: cells along height and along width.
        eps: floor of the variance.

    Returns:
        Means and deviations, each of shape (n, c, grid * grid).

    Raises:
        ShapeError: a cell would have a single pixel, whose variance does not exist.

    Example:
        >>> mean, deviation = channel_moments(torch.arange(8.0).reshape(1, 2, 2, 2))
        >>> mean.flatten().tolist()
        [1.5, 5.5]
    """
    height, width = maps.shape[2:]
    smallest = min((bottom - top) for top, bottom in _bounds(height, grid))
    narrowest = min((right - left) for left, right in _bounds(width, grid))
    if smallest * narrowest < 2:
        raise ShapeError(
            f"grid {grid} on a {height}x{width} map leaves cells of one pixel, which have no variance; "
            f"use a smaller grid (1 takes the whole map) or an earlier, larger layer."
        )
    if height % grid == 0 and width % grid == 0:
        split = maps.reshape(*maps.shape[:2], grid, height // grid, grid, width // grid)
        cells = split.transpose(3, 4).flatten(4).flatten(2, 3)
        return cells.mean(dim=3), (cells.var(dim=3) + eps).sqrt()
    moments = [
        torch.var_mean(maps[:, :, top:bottom, left:right], dim=(2, 3))
        for top, bottom in _bounds(height, grid)
        for left, right in _bounds(width, grid)
    ]
    variances, means = (torch.stack(parts, dim=2) for parts in zip(*moments, strict=True))
    return means, (variances + eps).sqrt()


def _bounds(size: int, grid: int) -> list[tuple[int, int]]:
    return [(cell * size // grid, -(-(cell + 1) * size // grid)) for cell in range(grid)]


def moment_gaps(student: Tensor, teacher: Tensor, *, grid: int = 1, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Squared differences of means and of deviations, summed over channels, averaged over cells.

    Args:
        student: feature maps, shape (n, c, h, w).
        teacher: feature maps, shape (n, c, h, w).
        grid: cells along height and along width.
        eps: floor of the variance.

    Returns:
        The two gaps, each of shape (n,); their sum is the squared 2-Wasserstein distance of Gaussians with
        diagonal covariance.
    """
    (mean_s, deviation_s), (mean_t, deviation_t) = (
        channel_moments(maps, grid=grid, eps=eps) for maps in (student, teacher)
    )
    return (
        (mean_s - mean_t).square().sum(dim=1).mean(dim=1),
        (deviation_s - deviation_t).square().sum(dim=1).mean(dim=1),
    )


def full_moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over pixels, shape (n, c), and centred pixels, shape (n, c, h * w)."""
    pixels = maps.flatten(2)
    mean = pixels.mean(dim=2)
    return mean, pixels - mean[:, :, None]


def full_covariance(maps: Tensor, *, ridge: float) -> tuple[Tensor, Tensor]:
    """Mean (n, c) and covariance (n, c, c) over pixels (divisor h * w), with a ridge on its diagonal."""
    mean, centred = full_moments(maps)
    identity = torch.eye(centred.shape[1], dtype=centred.dtype, device=centred.device)
    return mean, centred @ centred.mT / centred.shape[2] + ridge * identity
