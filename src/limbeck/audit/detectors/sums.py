"""What objects and detections add up to, image by image.

The objects of one image are not independent of each other, so that an image is what a bootstrap draws: every tally
here has one row for each image, with the sums over its objects.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from limbeck.audit.tally import Tally, ratio


def by_image(values: Tensor, owner: Tensor, images: int, summary: Callable[[Tensor], Tensor]) -> Tally:
    """Sum rows of objects over their images.

    Args:
        values: shape (k, columns); rows with a NaN do not count.
        owner: image of each, shape (k,).
        images: how many there are.
        summary: of the tally.
    """
    values = values.to(torch.float64)
    counts = ~values.isnan().any(dim=1)
    columns = torch.zeros(images, values.shape[1], dtype=torch.float64)
    return Tally(columns.index_add_(0, owner[counts], values[counts]), summary)


def share_of_objects(values: Tensor, owner: Tensor, images: int) -> Tally:
    """The mean over all objects, NaN not counted.

    Example:
        >>> share_of_objects(torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0, 0, 1]), 2).columns.tolist()
        [[1.0, 2.0], [1.0, 1.0]]
    """
    values = values.to(torch.float64)
    return by_image(torch.stack([values, torch.ones_like(values)], dim=1), owner, images, ratio)


def kappa(first: Tensor, second: Tensor, choices: int, owner: Tensor, images: int) -> Tally:
    """Cohen's kappa of two sequences of answers, counted for each object; -1 is no answer.

    Args:
        first: shape (k,), 0..choices - 1.
        second: shape (k,).
        choices: how many answers there are.
        owner: image of each object.
        images: how many there are.

    Example:
        >>> answers = torch.tensor([0, 1, 1, 0])
        >>> kappa(answers, answers, 2, torch.arange(4), 4).value
        1.0
        >>> kappa(answers, torch.tensor([0, 0, 1, 1]), 2, torch.arange(4), 4).value
        0.0
    """
    cells = torch.nn.functional.one_hot((first * choices + second).clamp(min=0), choices * choices)
    cells = cells.double()
    cells[(first < 0) | (second < 0)] = math.nan
    return by_image(cells, owner, images, _kappa(choices))


def _kappa(choices: int) -> Callable[[Tensor], Tensor]:
    def summary(sums: Tensor) -> Tensor:
        cells = sums.unflatten(-1, (choices, choices))
        total = cells.sum(dim=(-2, -1))
        agreed = cells.diagonal(dim1=-2, dim2=-1).sum(dim=-1) / total
        expected = (cells.sum(dim=-1) * cells.sum(dim=-2)).sum(dim=-1) / total**2
        found: Tensor = (agreed - expected) / (1 - expected)
        return found

    return summary


def correlation(first: Tensor, second: Tensor, owner: Tensor, images: int) -> Tally:
    """Pearson's correlation over objects, the mean of those of the columns.

    Args:
        first: shape (k, c); NaN where an object does not count.
        second: shape (k, c).
        owner: image of each object.
        images: how many there are.

    Example:
        >>> line = torch.arange(4.0)[:, None]
        >>> round(correlation(line, 2 * line + 1, torch.arange(4), 4).value, 6)
        1.0
    """
    first, second = first.double(), second.double()
    ones = torch.ones_like(first)
    parts = torch.stack([ones, first, second, first * first, second * second, first * second], dim=2)
    return by_image(parts.flatten(1), owner, images, _correlation)


def _correlation(sums: Tensor) -> Tensor:
    n, x, y, xx, yy, xy = sums.unflatten(-1, (-1, 6)).unbind(-1)
    spread = ((xx - x * x / n) * (yy - y * y / n)).clamp(min=0).sqrt()
    found: Tensor = ((xy - x * y / n) / spread).mean(dim=-1)
    return found


def partners(groups: Tensor, owner: Tensor) -> Tensor:
    """For each object another one of its group in another image, or -1: what takes a property of one object out.

    Args:
        groups: say, class of each object, shape (k,).
        owner: image of each, shape (k,).

    Example:
        >>> partners(torch.tensor([0, 0, 1, 0]), torch.tensor([0, 1, 1, 2])).tolist()
        [1, 3, -1, 0]
    """
    found = torch.full_like(groups, -1)
    for group in groups.unique().tolist():
        members = (groups == group).nonzero()[:, 0]
        other = members.roll(-max(1, len(members) // 2))
        apart = owner[members] != owner[other]
        found[members[apart]] = other[apart]
    return found
