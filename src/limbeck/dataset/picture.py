"""A small set as a picture."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

from limbeck.dataset.image_set import ImageSet

_SIDE = 40
"""Least side of an image in the picture, in pixels."""


def grid_png(found: ImageSet, *, per_class: int = 10, classes: int = 20) -> bytes:
    """The images class by class, a class a row, as a PNG.

    Args:
        found: the set.
        per_class: images of a class to show at most.
        classes: rows to show at most.
    """
    pixels, labels = found.pixels().cpu(), found.labels.cpu()
    rows = []
    for label in range(min(found.classes, classes)):
        mine = pixels[labels == label][:per_class]
        blank = torch.ones(max(per_class - len(mine), 0), *pixels.shape[1:])
        rows.append(torch.cat([mine, blank])[: min(per_class, found.ipc)])
    return _png(torch.stack(rows))


def _png(rows: Tensor, gap: int = 2) -> bytes:
    """Images (rows, columns, c, h, w) side by side, enlarged to whole multiples, with white between them."""
    times = max(1, -(-_SIDE // rows.shape[-1]))
    tall = rows.repeat_interleave(times, 3).repeat_interleave(times, 4)
    framed = torch.nn.functional.pad(tall, (0, gap, 0, gap), value=1.0)
    return encoded(framed.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2))


def encoded(pixels: Tensor) -> bytes:
    """One image as a PNG: grey where it has fewer than three channels, else of the first three.

    Args:
        pixels: in [0, 1], (c, h, w).
    """
    values = (pixels * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    image = Image.fromarray(values[:, :, 0] if values.shape[2] < 3 else values[:, :, :3])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
