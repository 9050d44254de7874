"""The pointing game: whether the strongest place of a map lies on the object."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.audit.attribution.similarity import enlarged
from limbeck.bounds import NonNegative
from limbeck.errors import DataError, ShapeError


def pointing_game(
    maps: Tensor, boxes: Tensor | Sequence[Tensor], size: tuple[int, int], *, tolerance: NonNegative = 0.0
) -> Tensor:
    """Whether the largest value of each map, enlarged to the image, lies inside a box of the asked class.

    Args:
        maps: unscaled, shape (n, rows, columns).
        boxes: of the class asked about: shape (n, 4), or for each image (k, 4), k from 0; left, top, right, bottom
            in pixels, the right and bottom edge behind the last pixel.
        size: height and width of the image.
        tolerance: pixels by which a box is widened on every side; the paper takes 15 for photographs.

    Returns:
        1 or 0, shape (n,); NaN for images without a box or with a map that is the same everywhere.

    Raises:
        ShapeError: another number of boxes than of images.
        DataError: a box without an area.

    References:
        The pointing game [zhang2018top].

    Example:
        >>> maps = torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])
        >>> pointing_game(maps, torch.tensor([[4.0, 4.0, 8.0, 8.0]]), (8, 8))
        tensor([1.])
    """
    if len(maps) != len(boxes) or maps.ndim != 3:
        raise ShapeError(
            f"pointing_game: expected maps (n, rows, columns) and boxes for each; got {tuple(maps.shape)} and "
            f"{len(boxes)} of boxes."
        )
    large = enlarged(maps, size).flatten(1)
    peak = large.argmax(dim=1)
    found = torch.full((len(maps),), torch.nan, dtype=maps.dtype, device=maps.device)
    for image, part in enumerate(boxes):
        rows = part.reshape(-1, 4).to(maps.device)
        if bool((rows[:, 2:] <= rows[:, :2]).any()):
            raise DataError(
                f"pointing_game: a box of image {image} has no area ({rows.tolist()}); boxes are left, top, "
                "right, bottom, not widths and heights."
            )
        if len(rows) and bool(large[image].max() > large[image].min()):
            # The centre of the pixel.
            x, y = peak[image] % size[1] + 0.5, peak[image] // size[1] + 0.5
            wide = rows + rows.new_tensor([-tolerance, -tolerance, tolerance, tolerance])
            inside = (wide[:, 0] <= x) & (x <= wide[:, 2]) & (wide[:, 1] <= y) & (y <= wide[:, 3])
            found[image] = inside.any().to(maps.dtype)
    return found
