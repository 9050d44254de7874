"""Images with boxes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from limbeck.protocols import DetectionSample

SIDE = 420
"""Pixels across of each image."""
_GAP = 6
_SHOWN = 420
"""Pixels across at which a report shows the whole picture, which decides how large its words are."""
_WORDS = 12
"""Pixels of a word's height at that width."""
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
_INK = (31, 35, 48)
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


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
    return _panels(sample, [("found", found)], class_names, least)


def before_and_after(
    sample: DetectionSample,
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    *,
    class_names: Sequence[str],
    least: float,
    titles: tuple[str, str] = ("before", "after"),
) -> bytes:
    """True boxes, those of one detector and those of another, side by side as a PNG.

    Args:
        sample: with its boxes.
        before: boxes, labels and scores of one detector.
        after: of the other.
        class_names: in the order of the labels.
        least: score from which a box is drawn.
        titles: names of the detectors.
    """
    return _panels(sample, [(titles[0], before), (titles[1], after)], class_names, least)


def drawn(image: Tensor, boxes: Tensor, labels: Tensor) -> Image.Image:
    """An image with boxes, a colour a class.

    Args:
        image: uint8 (3, h, w).
        boxes: (k, 4) x1, y1, x2, y2 in its pixels.
        labels: (k,), 0..C-1.
    """
    height, width = image.shape[1:]
    factor = SIDE / width
    size = (SIDE, max(1, round(height * factor)))
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    picture = picture.resize(size, Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for box, label in zip((boxes * factor).tolist(), labels.tolist(), strict=True):
        x1, y1, x2, y2 = box
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=_colour(label), width=3)
    return picture


def _panels(
    sample: DetectionSample,
    found: Sequence[tuple[str, Mapping[str, Tensor]]],
    class_names: Sequence[str],
    least: float,
) -> bytes:
    """The truth and what was found, side by side under their titles, over the names of the colours.

    Names at the boxes themselves would be too small to read where several panels share the width of a page.
    """
    chosen = [("truth", sample.boxes, sample.labels)]
    for title, one in found:
        kept = torch.as_tensor(one["scores"] >= least)
        chosen.append((title, one["boxes"][kept], one["labels"][kept]))
    pictures = [drawn(sample.image, boxes, labels) for _, boxes, labels in chosen]
    width = sum(picture.width for picture in pictures) + _GAP * (len(pictures) - 1)
    font = ImageFont.load_default(size=round(_WORDS * width / _SHOWN))
    line = round(1.5 * font.size)  # type: ignore[union-attr]
    here = sorted({int(label) for _, _, labels in chosen for label in labels})
    legend = _legend([(_colour(label), class_names[label]) for label in here], width, font, line)
    high = max(picture.height for picture in pictures)
    whole = Image.new("RGB", (width, line + high + legend.height), "white")
    pen = ImageDraw.Draw(whole)
    x = 0
    for (title, boxes, _), picture in zip(chosen, pictures, strict=True):
        counted = f"{title}: {len(boxes)}"
        pen.text((x, 0), _fitting(counted, SIDE, font), fill=_INK, font=font)
        whole.paste(picture, (x, line))
        x += picture.width + _GAP
    whole.paste(legend, (0, line + high))
    buffer = io.BytesIO()
    whole.save(buffer, "PNG")
    return buffer.getvalue()


def _legend(
    entries: Sequence[tuple[tuple[int, int, int], str]], width: int, font: _Font, line: int
) -> Image.Image:
    """Squares of the colours with their classes, in as many lines as it takes."""
    places: list[tuple[int, int]] = []
    x, y = 0, line // 4
    square = line // 2
    names = [_fitting(name, width - 2 * square, font) for _, name in entries]
    for name in names:
        wide = round(square * 1.5 + font.getlength(name))
        if x and x + wide > width:
            x, y = 0, y + line
        places.append((x, y))
        x += wide + square
    legend = Image.new("RGB", (width, y + line if entries else 0), "white")
    pen = ImageDraw.Draw(legend)
    for (colour, _), name, (left, top) in zip(entries, names, places, strict=True):
        middle = top + line // 2
        pen.rectangle((left, middle - square // 2, left + square, middle + square // 2), fill=colour)
        pen.text((left + round(square * 1.5), middle), name, fill=_INK, font=font, anchor="lm")
    return legend


def _fitting(text: str, width: float, font: _Font) -> str:
    """A text cut off where it would be wider than that."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _colour(label: int) -> tuple[int, int, int]:
    return _COLOURS[label % len(_COLOURS)]
