"""Whether the nearest neighbour tells samples and reference apart."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.numerics.point_sets import distances, distances_within, point_sets


@torch.no_grad()
def nearest_neighbour_accuracy(samples: Tensor, reference: Tensor) -> float:
    """Leave-one-out accuracy of a 1-nearest-neighbour classifier between samples and reference.

    0.5 is what two draws of one distribution give; 1 says that the sets are apart, and values near 0 that the
    samples are copies of the reference. The accuracies on both sides are averaged, which is the plain accuracy
    for equally many points and keeps 0.5 the mark for unequal ones. A tie counts one half.

    Args:
        samples: shape (n, ...), flattened to (n, d).
        reference: shape (m, ...), flattened to (m, d).

    Returns:
        A fraction between 0 and 1.

    Raises:
        ShapeError: widths differ.
        DataError: fewer than two points on a side, or numbers that are not finite.

    Example:
        >>> nearest_neighbour_accuracy(torch.tensor([0.0, 1.0]), torch.tensor([7.0, 8.0]))
        1.0

    References:
        Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017, section 3
        [lopezpaz2017revisiting]; Xu et al., An Empirical Study on Evaluation Metrics of Generative Adversarial
        Networks, 2018, section 2 [xu2018empirical].
    """
    left, right = point_sets("nearest_neighbour_accuracy", samples=samples, reference=reference)
    to_right = torch.full((len(left),), torch.inf, dtype=left.dtype, device=left.device)
    to_left = torch.full((len(right),), torch.inf, dtype=left.dtype, device=left.device)
    for rows, block in distances(left, right):
        to_right[rows] = block.min(dim=1).values
        to_left = torch.minimum(to_left, block.min(dim=0).values)
    return (_right_guesses(left, to_right) + _right_guesses(right, to_left)) / 2


def _right_guesses(points: Tensor, to_others: Tensor) -> float:
    right = 0.0
    for rows, block in distances_within(points):
        block.diagonal(rows.start).fill_(torch.inf)
        own, other = block.min(dim=1).values, to_others[rows]
        right += float((own < other).sum()) + float((own == other).sum()) / 2
    return right / len(points)
