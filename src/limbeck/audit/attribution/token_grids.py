"""Maps out of whatever a layer puts out: channels first or last, or tokens with class tokens in front of them."""

from __future__ import annotations

import math

from torch import Tensor

from limbeck.errors import TapError

# Class tokens and registers; no network in use has more.
_MOST_PREFIX_TOKENS = 16


def fits_grid(tokens: int) -> bool:
    """Whether the tokens fill a square.

    Example:
        >>> fits_grid(49), fits_grid(50)
        (True, False)
    """
    return tokens > 1 and math.isqrt(tokens) ** 2 == tokens


def grid_of(tokens: int, *, height: int, width: int, prefix: int | None = None) -> tuple[int, int, int]:
    """Class tokens, and rows and columns of the others, for an image of a height and width.

    Args:
        tokens: in all.
        height: of the image.
        width: of the image.
        prefix: tokens in front that stand for no place; found unless given, the fewest that leave a full grid.

    Raises:
        TapError: no number of class tokens leaves a grid of the image's proportions.

    Example:
        >>> grid_of(197, height=224, width=224), grid_of(8, height=16, width=32, prefix=0)
        ((1, 14, 14), (0, 2, 4))
    """
    for front in range(_MOST_PREFIX_TOKENS + 1) if prefix is None else (prefix,):
        rest = tokens - front
        rows = round(math.sqrt(max(rest, 0) * height / width))
        if rows > 0 and rest > 1 and rest % rows == 0 and _alike(rows / (rest // rows), height / width):
            return front, rows, rest // rows
    raise TapError(
        f"attribution: {tokens} tokens make up no grid for images of {height} x {width} pixels"
        + (", whatever the number of class tokens." if prefix is None else f" behind {prefix} class tokens.")
    )


def as_maps(values: Tensor, *, height: int, width: int, prefix: int | None = None) -> Tensor:
    """Shape (n, c, rows, columns) out of a map, a map with its channels last, or tokens.

    Args:
        values: shape (n, c, rows, columns), (n, rows, columns, c) or (n, tokens, c).
        height: of the images that the model was given.
        width: of the images that the model was given.
        prefix: tokens in front that stand for no place; found unless given.

    Raises:
        TapError: neither of them.
    """
    if values.ndim == 4:
        return values.permute(0, 3, 1, 2) if _channels_last(values, height / width) else values
    if values.ndim == 3:
        front, rows, columns = grid_of(values.shape[1], height=height, width=width, prefix=prefix)
        return values[:, front:].mT.reshape(len(values), values.shape[2], rows, columns)
    raise TapError(
        f"attribution: a layer has to put out maps (n, c, h, w) or tokens (n, tokens, c); this one puts out shape "
        f"{tuple(values.shape)}."
    )


def places(values: Tensor, ratio: float) -> int:
    """How many places a map has, its channels first or last.

    Args:
        values: shape (n, c, rows, columns) or (n, rows, columns, c).
        ratio: height of the image over its width.
    """
    _, first, second, third = values.shape
    return first * second if _channels_last(values, ratio) else second * third


def _channels_last(values: Tensor, ratio: float) -> bool:
    """Whether the first two sizes have the image's proportions and the last two do not."""
    _, first, second, third = values.shape
    if 0 in (first, second, third):
        return False
    return _alike(first / second, ratio) and not _alike(second / third, ratio)


def _alike(found: float, wanted: float) -> bool:
    # Strides round up: the proportions of small grids differ from the image's.
    return abs(math.log(found / wanted)) < 0.2
