"""Maps between 0 and 1 at the size of the image, for eyes; never for comparisons."""

from __future__ import annotations

from torch import Tensor

from limbeck.audit.attribution.similarity import enlarged

_GUARD = 1e-7


def display(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Each map between its smallest and its largest value, enlarged, and once more.

    Subtracting the smallest value changes the cosine between two maps, so compare raw ones.

    Args:
        maps: shape (n, rows, columns).
        size: height and width wanted.

    Returns:
        Shape (n, height, width), in [0, 1]; a map that is the same everywhere becomes zero.

    Example:
        >>> import torch
        >>> display(torch.tensor([[[1.0, 3.0]]]), (1, 2)).round(decimals=4)
        tensor([[[0., 1.]]])
    """
    return _stretched(enlarged(_stretched(maps), size))


def _stretched(maps: Tensor) -> Tensor:
    above = maps - maps.amin(dim=(1, 2), keepdim=True)
    return above / (_GUARD + above.amax(dim=(1, 2), keepdim=True))
