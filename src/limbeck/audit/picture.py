"""Pictures for the report: images in rows, with a word for each row and column."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

GAP = 3
CELL = 96
_MARGIN = 112
_HEAD = 20


def grid(rows: Sequence[Sequence[Tensor]], *, row_names: Sequence[str], column_names: Sequence[str] = ()) -> bytes:
    """Images side by side as a PNG.

    Args:
        rows: images of each row, each (c, h, w), floats in [0, 1]; of c other than 1 or 3 the mean is shown.
        row_names: what each row shows.
        column_names: what each column shows, if anything.
    """
    columns = max(len(row) for row in rows)
    head = _HEAD if column_names else 0
    width, height = _MARGIN + columns * (CELL + GAP), head + len(rows) * (CELL + GAP)
    page = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=12)
    for number, name in enumerate(column_names):
        pen.text((_MARGIN + number * (CELL + GAP), 3), _fitted(name, CELL, font), fill="black", font=font)
    for at, (name, row) in enumerate(zip(row_names, rows, strict=True)):
        top = head + at * (CELL + GAP)
        pen.text((2, top + CELL / 2 - 7), _fitted(name, _MARGIN - 6, font), fill="black", font=font)
        for number, image in enumerate(row):
            page.paste(_tile(image), (_MARGIN + number * (CELL + GAP), top))
    buffer = io.BytesIO()
    page.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _tile(image: Tensor) -> Image.Image:
    image = image.detach().float().cpu().clamp(0, 1)
    image = image if image.shape[0] == 3 else image.mean(dim=0, keepdim=True).expand(3, -1, -1)
    array = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    # Small images are enlarged without smoothing: a blurred pixel would be a false one.
    way = Image.Resampling.NEAREST if max(image.shape[1:]) <= CELL else Image.Resampling.BILINEAR
    return Image.fromarray(array).resize((CELL, CELL), way)


def _fitted(text: str, room: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"


def heat(image: Tensor, values: Tensor) -> Tensor:
    """A map laid over its image, from nothing over red to yellow.

    Args:
        image: (1 or 3, h, w), floats in [0, 1].
        values: in [0, 1], shape (rows, columns); enlarged to the image.
    """
    size = (max(image.shape[1], 48), max(image.shape[2], 48))
    large = F.interpolate(values[None, None].float(), size=size, mode="bilinear", align_corners=False)[0, 0]
    base = F.interpolate(image[None].float(), size=size, mode="nearest")[0]
    grey = base.mean(dim=0, keepdim=True).expand(3, -1, -1) * 0.75
    colour = torch.stack([torch.ones_like(large), (2 * large - 0.6).clamp(0, 1), torch.zeros_like(large)])
    weight = (0.75 * large)[None]
    return (1 - weight) * grey + weight * colour
