"""Samples as pictures: grids of images, and points in the plane."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

_SIDE, _GAP = 40, 2


def grid_png(images: Tensor, *, columns: int = 10) -> bytes:
    """Images in [-1, 1] side by side as a PNG, small ones enlarged.

    Args:
        images: (n, c, h, w), c 1 or 3.
        columns: in a row.
    """
    pixels = ((images.detach().float().cpu() + 1) / 2).clamp(0, 1)
    rest = -len(pixels) % columns
    if rest:
        pixels = torch.cat([pixels, torch.ones(rest, *pixels.shape[1:])])
    times = max(1, -(-_SIDE // pixels.shape[-1]))
    tall = pixels.repeat_interleave(times, 2).repeat_interleave(times, 3)
    framed = torch.nn.functional.pad(tall, (0, _GAP, 0, _GAP), value=1.0)
    rows = framed.unflatten(0, (-1, columns)).permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)
    return _encoded(rows[..., :-_GAP, :-_GAP])


def points_png(points: Tensor, *, paths: list[Tensor] | None = None, side: int = 360, reach: float = 3.0) -> bytes:
    """Points in the plane as a PNG, with the way that some of them came.

    Args:
        points: (n, 2, 1, 1).
        paths: states of a solver, each (m, 2, 1, 1), drawn as thin lines.
        side: of the picture in pixels.
        reach: of the axes, from -reach to reach.
    """
    from PIL import ImageDraw

    scale = 2  # drawn at twice the size and made smaller, for smooth dots
    whole = side * scale
    picture = Image.new("RGB", (whole, whole), "white")
    pen = ImageDraw.Draw(picture, "RGBA")

    def place(values: Tensor) -> list[tuple[float, float]]:
        at = (values.detach().float().cpu().flatten(1) / reach + 1) / 2 * whole
        return [(float(x), float(whole - y)) for x, y in at]

    if paths:
        for line in zip(*(place(state) for state in paths), strict=True):
            pen.line(list(line), fill=(90, 110, 150, 70), width=2)
    for x, y in place(points):
        pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=(200, 80, 40, 110))
    return _png(picture.resize((side, side), Image.Resampling.LANCZOS))


def picture_of(samples: Tensor, *, columns: int = 10) -> bytes | None:
    """Whatever shows some samples; None for data that nothing here can show."""
    channels, height, width = samples.shape[1:]
    if (channels, height, width) == (2, 1, 1):
        return points_png(samples[:2000])
    return grid_png(samples, columns=columns) if channels in (1, 3) else None


def _encoded(pixels: Tensor) -> bytes:
    values = (pixels * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return _png(Image.fromarray(values[:, :, 0] if values.shape[2] == 1 else values))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
