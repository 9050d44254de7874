"""What transformers put out, tokens, in the shapes that losses on feature maps and on vectors take."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from limbeck.errors import ShapeError


def tokens_to_map(tokens: Tensor, *, prefix: int, grid: tuple[int, int] | None = None) -> Tensor:
    """Patch tokens in their places in the image; those in front of them (class, registers) are left out.

    Args:
        tokens: shape (n, prefix + h * w, d), the patches row by row.
        prefix: tokens in front of the patches.
        grid: height and width in patches; square unless given.

    Returns:
        Map (n, d, h, w), a view of the tokens where they allow one.

    Raises:
        ShapeError: no tokens, or as many as make no grid of that form.

    Example:
        >>> import torch
        >>> tokens_to_map(torch.zeros(2, 197, 64), prefix=1).shape
        torch.Size([2, 64, 14, 14])
    """
    patches = _patches(tokens, prefix)
    height, width = _square(patches, prefix) if grid is None else grid
    if height * width != patches or height < 1:
        raise ShapeError(
            f"a grid of {height} x {width} has {height * width} patches, but {tokens.shape[1]} tokens with "
            f"{prefix} in front of them have {patches}."
        )
    found: Tensor = tokens[:, prefix:].transpose(1, 2).unflatten(2, (height, width))
    return found


def tokens_to_vector(tokens: Tensor, *, prefix: int, pool: Literal["class", "mean"] = "class") -> Tensor:
    """One vector an image: the class token, or the mean of the patch tokens.

    Args:
        tokens: shape (n, prefix + patches, d).
        prefix: tokens in front of the patches, the class token being the first.
        pool: "class" or "mean"; a network classifies by one of them, which is the one to take.

    Returns:
        Vectors (n, d).

    Raises:
        ShapeError: no tokens, or no class token.

    Example:
        >>> import torch
        >>> tokens_to_vector(torch.ones(2, 5, 3), prefix=1, pool="mean").shape
        torch.Size([2, 3])
    """
    _patches(tokens, prefix)
    if pool == "mean":
        return tokens[:, prefix:].mean(1)
    if prefix < 1:
        raise ShapeError(f"tokens of shape {tuple(tokens.shape)} have no class token in front; take their mean.")
    return tokens[:, 0]


def channels_first(features: Tensor) -> Tensor:
    """A map with its channels behind, (n, h, w, d), as one with its channels in front, (n, d, h, w).

    Raises:
        ShapeError: no map.

    Example:
        >>> import torch
        >>> channels_first(torch.zeros(2, 7, 7, 96)).shape
        torch.Size([2, 96, 7, 7])
    """
    if features.ndim != 4:
        raise ShapeError(f"a map has shape (n, h, w, d), not {tuple(features.shape)}.")
    return features.permute(0, 3, 1, 2)


def _patches(tokens: Tensor, prefix: int) -> int:
    if tokens.ndim != 3:
        raise ShapeError(f"tokens have shape (n, tokens, d), not {tuple(tokens.shape)}.")
    patches = tokens.shape[1] - prefix
    if prefix < 0 or patches < 1:
        raise ShapeError(f"{tokens.shape[1]} tokens cannot have {prefix} in front of the patches.")
    return patches


def _square(patches: int, prefix: int) -> tuple[int, int]:
    side = math.isqrt(patches)
    if side * side != patches:
        raise ShapeError(
            f"{patches} patch tokens (behind {prefix} others) make no square; the nearest has {side * side}. "
            "Give grid=(height, width), or another number of tokens in front."
        )
    return side, side
