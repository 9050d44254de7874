"""Augmentation of images with boxes: parts of the image, larger canvases, other scales.

An object that is hardly left vanishes, with its label and its number. Boxes are cut off at the new border.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as F

from limbeck.bounds import Fraction, Positive, PositiveInt
from limbeck.errors import ConfigError
from limbeck.sources.detection.augment import between, number
from limbeck.sources.detection.sample import View

_LEAST = 1.0
"""Pixels that must be left of a side of a box."""


def zoom_out(
    view: View,
    draw: Generator,
    *,
    scale: tuple[Positive, Positive] = (1.0, 4.0),
    probability: Fraction = 0.5,
    fill: tuple[Fraction, Fraction, Fraction] = (0.485, 0.456, 0.406),
) -> View:
    """The image at a random place of a larger canvas, for a share of the images: objects become smaller.

    Args:
        view: image and boxes.
        draw: random numbers.
        scale: smallest and largest side of the canvas, as a multiple of the image's; at least 1.
        probability: of being changed.
        fill: red, green and blue of the canvas, in [0, 1]; the mean of ImageNet.

    Raises:
        ConfigError: a canvas smaller than the image.

    References:
        SSD [liu2016ssd], section 3.6, called "zoom out" there.
    """
    low, high = _range("zoom_out", scale)
    if low < 1:
        raise ConfigError(
            f"zoom_out: the canvas is at least as large as the image; scale begins at {low:g}, below 1."
        )
    chosen, factor = number(draw) < probability, between(draw, low, high)
    down, across = number(draw), number(draw)
    if not chosen:
        return view
    height, width = int(view.height * factor), int(view.width * factor)
    top, left = int(down * (height - view.height + 1)), int(across * (width - view.width + 1))
    canvas = _canvas(view, height, width, fill)
    canvas[:, top : top + view.height, left : left + view.width] = view.image
    return view.changed(canvas, _shifted(view.boxes, left, top))


def iou_crop(
    view: View,
    draw: Generator,
    *,
    scale: tuple[Positive, Positive] = (0.3, 1.0),
    ratio: tuple[Positive, Positive] = (0.5, 2.0),
    overlaps: Sequence[float] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0),
    trials: PositiveInt = 40,
    rounds: PositiveInt = 25,
) -> View:
    """A part of the image that overlaps at least one object by a drawn IoU.

    Objects whose middle is outside vanish. The least overlap is drawn anew after `trials` parts that do not fit.
    Overlap 1 means the whole image. An image without objects gives any part.

    Args:
        view: image and boxes.
        draw: random numbers.
        scale: smallest and largest side of the part, as a share of the image's.
        ratio: smallest and largest ratio of width to height of the part.
        overlaps: least IoU of the part with the object that it overlaps most, drawn from these.
        trials: parts tried for each drawn overlap.
        rounds: overlaps drawn before the whole image is taken.

    References:
        SSD [liu2016ssd], section 2.2, data augmentation; there is no bound on the rounds there.
    """
    low, high = _range("iou_crop", scale)
    narrow, wide = _range("iou_crop", ratio)
    for _ in range(rounds):
        least = overlaps[int(number(draw) * len(overlaps))]
        if least >= 1:
            return view
        # All trials of a round at once.
        sides = low + (high - low) * torch.rand(trials, 2, generator=draw)
        place = torch.rand(trials, 2, generator=draw)
        across, down = (sides[:, 0] * view.width).int(), (sides[:, 1] * view.height).int()
        left, top = (place[:, 0] * (view.width - across + 1)).int(), (place[:, 1] * (view.height - down + 1)).int()
        parts = torch.stack((left, top, left + across, top + down), dim=1).to(torch.float32)
        shape = across / down.clamp(min=1)
        good = (across > 0) & (down > 0) & (shape >= narrow) & (shape <= wide)
        inside = _middles_inside(view.boxes, parts)
        if len(view.boxes):
            ious = torch.where(inside, _ious(parts, view.boxes), -1.0)
            good &= inside.any(1) & (ious.amax(1) >= least)
        if bool(good.any()):
            first = int(good.int().argmax())
            part = parts[first].int().tolist()
            return _cut(view, part, inside[first])
    return view


def random_crop(
    view: View,
    draw: Generator,
    *,
    scale: tuple[Positive, Positive] = (0.5, 1.0),
    visible: Fraction = 0.25,
    probability: Fraction = 0.5,
) -> View:
    """A random part of the image, for a share of the images; objects of which too little is left vanish.

    Args:
        view: image and boxes.
        draw: random numbers.
        scale: smallest and largest side of the part, as a share of the image's; at most 1.
        visible: share of a box that must be left.
        probability: of being changed.

    Raises:
        ConfigError: a part larger than the image.
    """
    low, high = _range("random_crop", scale)
    if high > 1:
        raise ConfigError(
            f"random_crop: a part is at most as large as the image; scale ends at {high:g}, above 1."
        )
    chosen = number(draw) < probability
    down, across = (max(1, round(between(draw, low, high) * side)) for side in (view.height, view.width))
    top, left = (int(number(draw) * (room + 1)) for room in (view.height - down, view.width - across))
    if not chosen:
        return view
    part = [left, top, left + across, top + down]
    return _cut(view, part, _shares(view.boxes, part) >= visible)


def scale_jitter(
    view: View,
    draw: Generator,
    *,
    scale: tuple[Positive, Positive] = (0.5, 1.5),
    visible: Fraction = 0.25,
    fill: tuple[Fraction, Fraction, Fraction] = (0.485, 0.456, 0.406),
) -> View:
    """The image made larger or smaller by a random factor, then cut at random or filled up to the size it had.

    Args:
        view: image and boxes.
        draw: random numbers.
        scale: smallest and largest factor; 0.1 and 2 is called large-scale jittering.
        visible: share of a box that must be left.
        fill: red, green and blue of what is filled up, in [0, 1]; the mean of ImageNet.

    References:
        Large-scale jittering [ghiasi2021simple].
    """
    low, high = _range("scale_jitter", scale)
    factor = between(draw, low, high)
    down, across = number(draw), number(draw)
    height, width = max(1, round(view.height * factor)), max(1, round(view.width * factor))
    image = F.resize(view.image, [height, width], antialias=True)
    boxes = view.boxes * torch.tensor([width / view.width, height / view.height] * 2)
    resized = view.changed(image, boxes)
    top, left = int(down * (height - view.height + 1)), int(across * (width - view.width + 1))
    if factor >= 1:
        part = [left, top, left + view.width, top + view.height]
        return _cut(resized, part, _shares(boxes, part) >= visible)
    # Smaller than it was: at the upper left corner, as usual, where the rest is filled up.
    canvas = _canvas(view, view.height, view.width, fill)
    canvas[:, :height, :width] = image
    return view.changed(canvas, boxes, _large(boxes))


def _range(name: str, pair: Sequence[float]) -> tuple[float, float]:
    low, high = pair
    if not 0 < low <= high < math.inf:
        raise ConfigError(f"{name}: a range has two numbers above 0, the smaller first; got {low:g} and {high:g}.")
    return float(low), float(high)


def _canvas(view: View, height: int, width: int, fill: Sequence[float]) -> Tensor:
    colour = (torch.tensor(fill, dtype=torch.float32) * 255).round().to(torch.uint8)
    return colour[:, None, None].expand(3, height, width).contiguous()


def _cut(view: View, part: Sequence[int], kept: Tensor) -> View:
    """The part x1, y1, x2, y2 of an image with those objects that are kept and of which a pixel is left."""
    left, top, right, bottom = part
    boxes = _shifted(view.boxes, -left, -top)
    boxes[:, 0::2].clamp_(0, right - left)
    boxes[:, 1::2].clamp_(0, bottom - top)
    return view.changed(view.image[:, top:bottom, left:right].contiguous(), boxes, kept & _large(boxes))


def _large(boxes: Tensor) -> Tensor:
    return ((boxes[:, 2:] - boxes[:, :2]) >= _LEAST).all(1)


def _shifted(boxes: Tensor, across: int, down: int) -> Tensor:
    return boxes + torch.tensor([across, down, across, down], dtype=boxes.dtype)


def _shares(boxes: Tensor, part: Sequence[int]) -> Tensor:
    """Share of each box that lies within a part."""
    left, top, right, bottom = part
    wide = (boxes[:, 2].clamp(max=right) - boxes[:, 0].clamp(min=left)).clamp(min=0)
    high = (boxes[:, 3].clamp(max=bottom) - boxes[:, 1].clamp(min=top)).clamp(min=0)
    return wide * high / ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def _middles_inside(boxes: Tensor, parts: Tensor) -> Tensor:
    """Which boxes have their middle inside which part, (parts, boxes)."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    return ((middle > parts[:, None, :2]) & (middle < parts[:, None, 2:])).all(2)


def _ious(parts: Tensor, boxes: Tensor) -> Tensor:
    corner = torch.maximum(parts[:, None, :2], boxes[:, :2])
    end = torch.minimum(parts[:, None, 2:], boxes[:, 2:])
    shared = (end - corner).clamp(min=0).prod(2)
    areas = [(b[:, 2:] - b[:, :2]).prod(1) for b in (parts, boxes)]
    return shared / (areas[0][:, None] + areas[1] - shared)
