"""What the builders of detectors share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limbeck.errors import ModelError


def sizing(size: Sequence[int] | None, min_size: int | Sequence[int], max_size: int) -> dict[str, Any]:
    """Arguments of torchvision's resizing.

    Args:
        size: height and width that every image is resized to, or None.
        min_size: otherwise, of the shorter side; one of several is drawn for each image in training.
        max_size: otherwise, what the longer side never exceeds.

    Raises:
        ModelError: a size that is none.

    Example:
        >>> sizing((120, 160), 800, 1333)["fixed_size"]
        (160, 120)
    """
    if size is None:
        return {"min_size": min_size if isinstance(min_size, int) else tuple(min_size), "max_size": max_size}
    if len(size) != 2 or min(size) < 1:
        raise ModelError(f"size is height and width, each at least 1; got {list(size)}.")
    height, width = size
    # torchvision wants the width first here.
    return {"min_size": min(size), "max_size": max(size), "fixed_size": (width, height)}
