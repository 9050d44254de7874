"""Blur: out of focus, behind frosted glass, in motion, while zooming, and Gaussian."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.audit.corruptions.applying import chosen, corruption
from limbeck.audit.corruptions.filters import disc, filtered, magnified, smoothed, streaked
from limbeck.seeding import derive, uniforms


@corruption
def defocus_blur(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """Out of focus: a disc-shaped filter with a softened edge. Nothing is random.

    (radius, softness) in pixels up to 48 pixels: (0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1); above:
    (3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5).

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: not used.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    radius, softness = chosen(
        images,
        severity,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)),
        ((3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)),
    )
    return filtered(images, disc(radius, softness))


@corruption
def gaussian_blur(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """A Gaussian filter. Nothing is random.

    Deviations in pixels up to 48 pixels: 0.4, 0.6, 0.7, 0.8, 1; above: 1, 2, 3, 4, 6.

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: not used.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    return smoothed(images, chosen(images, severity, (0.4, 0.6, 0.7, 0.8, 1.0), (1.0, 2.0, 3.0, 4.0, 6.0)))


@corruption
def glass_blur(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """Behind frosted glass: blurred, pixels replaced by a random neighbour one after the other, blurred again.

    The paper swaps the two pixels; the published sets were made by code that copies one over the other, as is done
    here, which disturbs images much less. (deviation, farthest neighbour, rounds) up to 48 pixels: (0.05, 1, 1),
    (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2); above: (0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2),
    (1.5, 4, 2).

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: of the neighbours.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    sigma, reach, rounds = chosen(
        images,
        severity,
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    )
    place = _jumbled(images, index, reach, rounds, derive(seed, "corruption", "glass"))
    shuffled = smoothed(images, sigma).flatten(2).gather(2, place[:, None].expand(-1, images.shape[1], -1))
    return smoothed(shuffled.view_as(images), sigma)


@corruption
def motion_blur(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """The camera moved: a streak of random direction, within 45 degrees of the horizontal.

    (radius, deviation) in pixels up to 48 pixels: (6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5); above: (10, 3), (15,
    5), (15, 8), (15, 12), (20, 15).

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: of the direction; all severities share it.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    radius, sigma = chosen(
        images,
        severity,
        ((6.0, 1.0), (6.0, 1.5), (6.0, 2.0), (8.0, 2.0), (9.0, 2.5)),
        ((10.0, 3.0), (15.0, 5.0), (15.0, 8.0), (15.0, 12.0), (20.0, 15.0)),
    )
    draw = uniforms(index, seed=derive(seed, "corruption", "motion"), epoch=1, draws=1)[:, 0]
    return streaked(images, 90 * draw - 45, radius=radius, sigma=sigma)


@corruption
def zoom_blur(images: Tensor, index: Tensor, *, severity: int, seed: int) -> Tensor:
    """The camera came closer: the mean of the image and of ever larger copies. Nothing is random.

    Largest copy and step up to 48 pixels: 1.05, 1.10, 1.15, 1.20, 1.25 by 0.01; above: 1.10 and 1.15 by 0.01, 1.20
    and 1.24 by 0.02, 1.30 by 0.03.

    Args:
        images: shape (n, c, h, w), floats in [0, 1], 1 or 3 channels.
        index: number of each image, shape (n,), int64.
        severity: 1 to 5.
        seed: not used.

    Returns:
        Shape and kind of `images`.

    References:
        Hendrycks and Dietterich, ICLR 2019 [hendrycks2019corruptions].
    """
    copies, step = chosen(
        images,
        severity,
        ((6, 0.01), (11, 0.01), (16, 0.01), (21, 0.01), (26, 0.01)),
        ((11, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)),
    )
    total = 2 * images  # the image itself, and the copy that is enlarged by nothing
    for copy in range(1, copies):
        total = total + magnified(images, 1 + copy * step)
    return total / (copies + 1)


def _jumbled(images: Tensor, index: Tensor, reach: int, rounds: int, seed: int) -> Tensor:
    """Where each pixel comes from after the jumble, shape (n, h * w), int64.

    Pixels are overwritten one after the other, the last first. One that copies a pixel before its turn gets what
    that held; one that copies a pixel after its turn gets what that had become, which is followed up here, for all
    pixels at once and twice as far at each step.
    """
    height, width = images.shape[2:]
    own = torch.arange(height * width, device=images.device)
    row, column = own // width, own % width
    inside = (row > reach) & (row <= height - reach) & (column > reach) & (column <= width - reach)
    place = own.expand(len(images), -1)
    for turn in range(rounds):
        draws = uniforms(index, seed=seed, epoch=turn + 1, draws=2 * height * width)
        offset = (draws * 2 * reach).long().clamp(max=2 * reach - 1) - reach
        source = own + offset[:, : height * width] * width + offset[:, height * width :]
        source = torch.where(inside, source, own)
        had_turn = inside[source] & (source > own)
        while bool(had_turn.any()):
            source, had_turn = (
                torch.where(had_turn, source.gather(1, source), source),
                had_turn & had_turn.gather(1, source),
            )
        place = place.gather(1, source)
    return place
