"""Boxes cut out of images, differentiably in the boxes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import ShapeError
from limbeck.numerics.precision import no_autocast


def box_crops(
    images: Tensor,
    owner: Tensor,
    boxes: Tensor,
    *,
    size: int,
    limits: Tensor | None = None,
) -> Tensor:
    """Cut boxes out of images and resample each to a square: a spatial transformer that only scales and shifts.

    Sampling is bilinear over a grid of cell centres (`align_corners=False`), with zeros outside. Left and top are
    clamped at 0, right and bottom at the image's end, and a clamped side has no gradient. A box that lies outside
    altogether would come out mirrored; `usable_boxes` says which do not.

    The grids of one image are sampled as one tall grid, so that no image is copied for each of its boxes.

    Args:
        images: shape (n, c, h, w), floating point.
        owner: the image of each box, int64, shape (k,).
        boxes: x1, y1, x2, y2 in pixels, floating point, shape (k, 4); gradients flow into them.
        size: pixels a side of a crop.
        limits: height and width of the true image where `images` are padded, shape (n, 2).

    Returns:
        (k, c, size, size) in the images' precision; the coordinates are computed in float32 at least.

    Raises:
        ShapeError: shapes other than these.

    Example:
        >>> image = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> box_crops(image, torch.tensor([0]), torch.tensor([[1.0, 1.0, 3.0, 3.0]]), size=2)[0, 0]
        tensor([[ 5.,  6.],
                [ 9., 10.]])
    """
    if images.ndim != 4 or boxes.ndim != 2 or boxes.shape[1] != 4 or owner.shape != boxes.shape[:1]:
        raise ShapeError(
            "box_crops: images (n, c, h, w), owner (k,), boxes (k, 4); got "
            f"{tuple(images.shape)}, {tuple(owner.shape)}, {tuple(boxes.shape)}."
        )
    channels, height, width = images.shape[1:]
    if len(boxes) == 0:
        return images.new_zeros((0, channels, size, size))
    with no_autocast(images):
        grids = _grids(boxes, owner, (height, width), size, limits)
        counts = torch.bincount(owner, minlength=len(images)).tolist()
        in_order = bool((owner[1:] >= owner[:-1]).all())
        order = None if in_order else owner.argsort(stable=True)
        grids = grids if order is None else grids[order]
        found = torch.cat(_sampled(images, grids.to(images.dtype), counts, size))
    if order is None:
        return found
    return found[order.argsort()]


def _grids(boxes: Tensor, owner: Tensor, shape: tuple[int, int], size: int, limits: Tensor | None) -> Tensor:
    """Sampling coordinates (k, size, size, 2) in [-1, 1] over the padded image."""
    height, width = shape
    boxes = boxes.to(torch.promote_types(boxes.dtype, torch.float32))
    if limits is None:
        top, right = boxes.new_full((len(boxes),), height), boxes.new_full((len(boxes),), width)
    else:
        top, right = limits.to(boxes)[owner].unbind(1)
    x1, y1, x2, y2 = boxes.unbind(1)
    # A side exactly on the border is not clamped; `minimum` would halve its gradient.
    x1, y1 = x1.where(x1 >= 0, 0), y1.where(y1 >= 0, 0)
    x2, y2 = x2.where(x2 <= right, right), y2.where(y2 <= top, top)
    cells = (2 * torch.arange(size, device=boxes.device, dtype=boxes.dtype) + 1) / size - 1
    columns = ((x2 - x1) / width)[:, None] * cells + ((x1 + x2) / width - 1)[:, None]
    rows = ((y2 - y1) / height)[:, None] * cells + ((y1 + y2) / height - 1)[:, None]
    return torch.stack(
        (
            columns[:, None, :].expand(-1, size, -1),
            rows[:, :, None].expand(-1, -1, size),
        ),
        dim=-1,
    )


def _sampled(images: Tensor, grids: Tensor, counts: Sequence[int], size: int) -> list[Tensor]:
    found = []
    for image, part in zip(images, grids.split(list(counts)), strict=True):
        if len(part) == 0:
            continue
        tall = part.reshape(1, len(part) * size, size, 2)
        crops = F.grid_sample(image[None], tall, mode="bilinear", padding_mode="zeros", align_corners=False)
        found.append(crops[0].unflatten(1, (len(part), size)).transpose(0, 1))
    return found


def usable_boxes(boxes: Tensor, owner: Tensor, limits: Tensor, *, least: float = 1.0) -> Tensor:
    """Which boxes have at least `least` pixels a side inside their image.

    Early in training predictions fall outside the image, where a crop would be mirrored and its gradient without
    meaning. The published code crops them all the same; here they are left out.

    Args:
        boxes: x1, y1, x2, y2 in pixels, shape (k, 4).
        owner: the image of each box, shape (k,).
        limits: height and width of each image, shape (n, 2).
        least: pixels.

    Returns:
        Bool, shape (k,).

    Example:
        >>> inside = torch.tensor([[0.0, 0.0, 5.0, 5.0], [9.5, 0.0, 12.0, 5.0]])
        >>> usable_boxes(inside, torch.tensor([0, 0]), torch.tensor([[10, 10]]))
        tensor([ True, False])
    """
    height, width = limits.to(boxes)[owner].unbind(1)
    x1, y1, x2, y2 = boxes.detach().unbind(1)
    wide = torch.minimum(x2, width) - x1.clamp(min=0)
    high = torch.minimum(y2, height) - y1.clamp(min=0)
    return (wide >= least) & (high >= least)
