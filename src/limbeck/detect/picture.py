"""Images with boxes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from limbeck.protocols import DetectionSample

SIDE = 420
"""Pixels across of each picture."""
_GAP = 6
_COLOURS = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (148, 103, 189),
    (140, 86, 75),
)
"""Told apart with colour blindness too (Okabe and Ito), two added."""


def boxes_png(
    sample: DetectionSample,
    found: Mapping[str, Tensor],
    *,
    class_names: Sequence[str],
    least: float,
) -> bytes:
    """True boxes at the left, found ones at the right, as a PNG.

    Args:
        sample: with its boxes.
        found: boxes, labels and scores.
        class_names: in the order of the labels.
        least: score from which a box is drawn.
    """
    return _beside(
        [
            drawn(sample.image, sample.boxes, sample.labels, None, class_names),
            _found(sample, found, class_names, least),
        ]
    )


def before_and_after(
    sample: DetectionSample,
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    *,
    class_names: Sequence[str],
    least: float,
) -> bytes:
    """True boxes, those of one detector and those of another, side by side as a PNG."""
    return _beside(
        [
            drawn(sample.image, sample.boxes, sample.labels, None, class_names),
            _found(sample, before, class_names, least),
            _found(sample, after, class_names, least),
        ]
    )


def drawn(
    image: Tensor, boxes: Tensor, labels: Tensor, scores: Tensor | None, class_names: Sequence[str]
) -> Image.Image:
    """An image with boxes, a colour a class, its name and score where there is room.

    Args:
        image: uint8 (3, h, w).
        boxes: (k, 4) x1, y1, x2, y2 in its pixels.
        labels: (k,), 0..C-1.
        scores: (k,), or None for true boxes.
        class_names: in the order of the labels.
    """
    height, width = image.shape[1:]
    factor = SIDE / width
    size = (SIDE, max(1, round(height * factor)))
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    picture = picture.resize(size, Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=11)
    few = len(boxes) <= 40  # more labels than that cover what they name
    for place, (box, label) in enumerate(zip((boxes * factor).tolist(), labels.tolist(), strict=True)):
        colour = _COLOURS[label % len(_COLOURS)]
        x1, y1, x2, y2 = box
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=2)
        if few:
            text = class_names[label] if scores is None else f"{class_names[label]} {float(scores[place]):.2f}"
            _write(pen, text, (x1, y1), colour, font, size)
    return picture


def _found(
    sample: DetectionSample, found: Mapping[str, Tensor], class_names: Sequence[str], least: float
) -> Image.Image:
    kept = torch.as_tensor(found["scores"] >= least)
    return drawn(sample.image, found["boxes"][kept], found["labels"][kept], found["scores"][kept], class_names)


def _write(
    pen: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[float, float],
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """A label above its box, or inside where there is no room above."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    wide, high = right - left + 4, bottom - top + 4
    x = min(max(corner[0], 0), size[0] - wide)
    y = corner[1] - high if corner[1] >= high else corner[1]
    pen.rectangle((x, y, x + wide, y + high), fill=colour)
    pen.text((x + 2 - left, y + 2 - top), text, fill="white", font=font)


def _beside(pictures: Sequence[Image.Image]) -> bytes:
    width = sum(p.width for p in pictures) + _GAP * (len(pictures) - 1)
    whole = Image.new("RGB", (width, max(p.height for p in pictures)), "white")
    x = 0
    for one in pictures:
        whole.paste(one, (x, 0))
        x += one.width + _GAP
    buffer = io.BytesIO()
    whole.save(buffer, "PNG")
    return buffer.getvalue()
